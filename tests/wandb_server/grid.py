"""Which points a W&B grid sweep has, and in what order (the server's side of `method: grid`)."""

from __future__ import annotations

import itertools
import json


class GridError(ValueError):
    """The sweep has no finite grid, or is not a grid at all."""


def grid_points(config: dict) -> list[dict]:
    """The points of a parsed sweep file, each {parameter: value} (nested ones nested).

    Parameter names are sorted and the last varies fastest, duplicate values are dropped, and
    `run_cap` shortens the list, as W&B does it. Raises GridError where there is no finite grid.
    """
    if config.get("method") != "grid":
        raise GridError(f"this server hands out grids, not method: {config.get('method')}")
    choices = dict(sorted(flat_choices(config.get("parameters", {}))))
    points = [
        nested(dict(zip(choices, values, strict=True)))
        for values in itertools.product(*choices.values())
    ]
    return points[: config.get("run_cap")]


def flat_choices(parameters: dict, path: tuple[str, ...] = ()):
    for name, parameter in parameters.items():
        if "parameters" in parameter:
            yield from flat_choices(parameter["parameters"], (*path, name))
        else:
            yield (*path, name), distinct(values_of(name, parameter))


def values_of(name: str, parameter: dict) -> list:
    if "value" in parameter:
        return [parameter["value"]]
    if "values" in parameter:
        return list(parameter["values"])
    low, high = parameter.get("min"), parameter.get("max")
    if isinstance(low, int) and isinstance(high, int):
        return list(range(low, high + 1))
    raise GridError(f"parameter {name} has no finite grid: {parameter}")


def distinct(values: list) -> list:
    # json tells 1 from True and 1 from 1.0, which a set would merge.
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def nested(flat: dict[tuple[str, ...], object]) -> dict:
    point: dict = {}
    for (*outer, last), value in flat.items():
        level = point
        for name in outer:
            level = level.setdefault(name, {})
        level[last] = value
    return point
