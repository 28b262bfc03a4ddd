"""The public API's run filters (a small part of MongoDB's language) and orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .query import QueryError
from .store import Run, timestamp

TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: found == wanted,
    "$ne": lambda found, wanted: found != wanted,
    "$in": lambda found, wanted: found in wanted,
}

FIELDS: dict[str, Callable[[Run], object]] = {
    "name": lambda run: run.id,
    "display_name": lambda run: run.name,
    "group": lambda run: run.group,
    "state": lambda run: run.state,
    "sweep": lambda run: run.sweep,
    "created_at": lambda run: timestamp(run.created),
}


def select(runs: list[Run], filters: str | None, order: str | None) -> list[Run]:
    """`runs` that pass `filters` (JSON text), in `order` (such as "-summary_metrics.loss")."""
    kept = [run for run in runs if passes(run, json.loads(filters or "{}"))]
    name = (order or "+created_at").lstrip("+-")
    known = [run for run in kept if value(run, name) is not None]
    known.sort(key=lambda run: (value(run, name), run.number))
    if (order or "").startswith("-"):
        known.reverse()
    return known + [run for run in kept if run not in known]


def passes(run: Run, condition: dict) -> bool:
    return all(passes_one(run, key, wanted) for key, wanted in condition.items())


def passes_one(run: Run, key: str, wanted: Any) -> bool:
    if key == "$and":
        return all(passes(run, part) for part in wanted)
    if key == "$or":
        return not wanted or any(passes(run, part) for part in wanted)
    found = value(run, key)
    tests = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    if isinstance(found, list):
        return any(holds(item, tests) for item in found)
    return holds(found, tests)


def holds(found: object, tests: dict) -> bool:
    unknown = tests.keys() - TESTS.keys()
    if unknown:
        raise QueryError(f"filter operators this server does not know: {sorted(unknown)}")
    return all(TESTS[name](found, wanted) for name, wanted in tests.items())


def value(run: Run, key: str) -> object:
    """What `key` names: a field of the run, config.KEY(.value), or summary_metrics.KEY."""
    if key in FIELDS:
        return FIELDS[key](run)
    kind, _, rest = key.partition(".")
    if kind == "config":
        return inside(run.config, rest.removesuffix(".value"))
    if kind in ("summary_metrics", "summaryMetrics"):
        return inside(run.summary, rest)
    raise QueryError(f"this server cannot filter or order by {key}")


def inside(values: object, key: str) -> object:
    if isinstance(values, dict) and key in values:
        return values[key]
    first, dot, rest = key.partition(".")
    return inside(values.get(first), rest) if dot and isinstance(values, dict) else None
