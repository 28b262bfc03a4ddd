"""Lists as the clients ask for them: pages of edges, chosen names, history by step."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable

from .store import Run


def connection(
    items: Iterable, node: Callable, first: int | None = None, after: str | None = None, **_: object
) -> dict:
    """One page of `items` as GraphQL edges; a cursor is the number of items up to its edge."""
    items = list(items)
    start = int(after or 0)
    stop = len(items) if first is None else min(start + first, len(items))
    return {
        "totalCount": len(items),
        "edges": [
            {"node": node(item), "cursor": str(index)}
            for index, item in enumerate(items[start:stop], start + 1)
        ],
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": str(stop),
            "hasNextPage": stop < len(items),
        },
    }


def matching(names: Iterable[str], wanted: list[str] | None, pattern: str | None = None) -> list:
    """The names that were asked for; `pattern` is SQL's LIKE, with % as its only wildcard."""
    return [
        name
        for name in names
        if (not wanted or name in wanted)
        and (not pattern or fnmatch.fnmatchcase(name, pattern.replace("%", "*")))
    ]


def steps(
    run: Run, minStep: int = 0, maxStep: int | None = None, samples: int | None = None
) -> list[dict]:
    rows = [
        row
        for row in run.history
        if row["_step"] >= minStep and (maxStep is None or row["_step"] < maxStep)
    ]
    return rows if samples is None else rows[:samples]


def sampled(run: Run, spec: dict) -> list[dict]:
    keys = spec.get("keys", [])
    return [
        {key: row[key] for key in keys} for row in run.history if all(key in row for key in keys)
    ][: spec.get("samples")]


def history_keys(run: Run) -> dict:
    keys: dict[str, dict] = {}
    for row in run.history:
        for key, found in row.items():
            kind = "number" if isinstance(found, (int, float)) else type(found).__name__
            entry = keys.setdefault(key, {"typeCounts": [{"type": kind, "count": 0}]})
            entry["typeCounts"][0]["count"] += 1
            entry["previousValue"] = found
    last = run.history[-1]["_step"] if run.history else -1
    return {"sets": [], "keys": keys, "lastStep": last}
