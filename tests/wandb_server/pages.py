"""Lists as the clients ask for them: chosen runs, pages of edges, history by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from .query import QueryError
from .store import Run


def select(runs: list[Run], filters: str | None) -> list[Run]:
    """The runs, oldest first, that pass `filters`: JSON text, of the public API's only `sweep`."""
    wanted = json.loads(filters or "{}")
    if wanted.keys() - {"sweep"}:
        raise QueryError(f"this server cannot filter by {filters}")
    return [run for run in runs if not wanted or run.sweep == wanted["sweep"]]


def connection(
    items: Iterable, node: Callable, first: int | None = None, after: str | None = None, **_: object
) -> dict:
    """One page of `items` as GraphQL edges; a cursor is the number of items up to its edge."""
    items = list(items)
    start = int(after or 0)
    stop = len(items) if first is None else min(start + first, len(items))
    return {
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


def steps(run: Run, minStep: int, maxStep: int, **_: object) -> list[dict]:
    return [row for row in run.history if minStep <= row["_step"] < maxStep]


def sampled(run: Run, spec: dict) -> list[dict]:
    """What a scan of some keys reads: the rows that have them all. An agent names none."""
    keys = spec.get("keys", [])
    return [
        {key: row[key] for key in keys} for row in run.history if all(key in row for key in keys)
    ]


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
