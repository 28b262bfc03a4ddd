"""The points of a sweep.

The grid is expanded exactly as W&B's server does it: parameter names sorted, the last one varies
fastest, values given twice dropped. Nothing here needs torch, wandb or optuna.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.options import NONE_SPELLINGS, Option
from data.registry import check_data, folder_val_images
from experiment.identity import identity, legacy_identity
from experiment.settings import Settings, options_of
from sweeps.parameters import Parameter
from tasks.metrics import Goal
from tracking.folder import RunFolder

MAX_POINTS = 10_000  # of a grid, or of settings times seeds
MAX_RUN_CAP = 100_000  # offline, where each setting is drawn beforehand
FULL_VALIDATION_MIN_IMAGES = 6000  # shorter rehearsals shorten validation too


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its arguments and ``key``, the hash of everything that matters in it.

    ``problem`` says why a run with these arguments cannot be built, if it cannot.
    """

    args: dict[str, Any]
    key: str
    legacy_key: str | None = None  # the same by the rule of commit 73bab81
    problem: str | None = None

    def arguments(self, sweep: Sweep) -> list[str]:
        """The arguments after ``train.py``, exactly as W&B's agent passes them."""
        named = [] if "command" in self.args else [sweep.command]
        return [*named, *(f"--{name}={value}" for name, value in self.args.items())]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file. ``config`` is what is sent to W&B's server."""

    file: Path
    name: str
    commands: tuple[str, ...]  # several where the parameter ``command`` has several values
    method: str
    metric: str
    goal: Goal
    config: dict[str, Any] = field(repr=False)
    parameters: dict[str, Parameter] = field(repr=False)
    literals: dict[str, Any] = field(default_factory=dict)  # options written in ``command``
    seeds: int | None = None  # of --seeds
    skip_invalid: bool = False

    @property
    def command(self) -> str:
        """The commands as one text, for messages and studies."""
        return ",".join(self.commands)

    def path(self, suffix: str) -> Path:
        """Where a file of this sweep is kept; a rehearsal (another name) has its own."""
        name = RunFolder.safe_name(self.name)
        if name != self.name:  # a hash, else "a b" would meet "a-b"
            name += f"-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"
        return Path("studies") / f"{name}{suffix}"

    @property
    def run_cap(self) -> int | None:
        """The number of settings (of runs, where no seeds are added)."""
        return self.config.get("run_cap")

    @property
    def target(self) -> float | None:
        """The value of the metric at which the sweep ends."""
        return self.config["metric"].get("target")

    @property
    def varied(self) -> list[str]:
        """The parameters that take more than one value."""
        return [name for name, p in sorted(self.parameters.items()) if p.count > 1]

    @property
    def constants(self) -> dict[str, Any]:
        """The parameters that take one value."""
        names = sorted(set(self.parameters) - set(self.varied))
        return {name: self.parameters[name].listed()[0] for name in names}

    @property
    def ranges(self) -> dict[str, Parameter]:
        """The parameters that settings are drawn from: no constants, no seeds of ``--seeds``."""
        names = [name for name in self.varied if name != "seed" or not self.seeds]
        return {name: self.parameters[name] for name in names}

    @property
    def space_hash(self) -> str:
        """Names the ranges that settings are drawn from; constants play no part."""
        ranges = [(name, repr(parameter)) for name, parameter in self.ranges.items()]
        return hashlib.sha256(repr(ranges).encode()).hexdigest()[:8]

    def settings(self, args: dict[str, Any]) -> Settings:
        """The settings of the run with ``args``; ``InputError`` where they do not fit."""
        values = self.literals | args
        return Settings.parse(values.pop("command", self.command), values)

    def point(self, args: dict[str, Any]) -> Point:
        """The point with ``args``, which may have a ``problem``."""
        args = self.literals | args
        try:
            settings = self.settings(args)
        except InputError as error:
            text = json.dumps(args, sort_keys=True, default=str)
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            return Point(args, f"invalid-{digest}", problem=str(error))
        return Point(args, identity(settings), legacy_identity(settings))

    def points(self, rows: Iterable[dict[str, Any]]) -> list[Point]:
        """The points with these arguments, each once, infeasible ones too."""
        found: dict[str, Point] = {}
        for point in map(self.point, rows):
            found.setdefault(point.key, point)
        return list(found.values())

    def holds(self, settings: Settings, ignore: tuple[str, ...] = ()) -> bool:
        """Whether a run with ``settings`` is of this sweep as its file is now, under any seed."""
        if settings.command not in self.commands:
            return False
        values = settings.flat()

        def fits(option: Option) -> bool:
            name, read = option.name, partial(option.read, option.name)
            if name in self.parameters:
                return self.parameters[name].holds(values[name], read)
            fixed = read(self.literals[name]) if name in self.literals else option.default
            return name == "seed" or values[name] == fixed

        options = (o for o in options_of(settings.command).values() if o.name not in ignore)
        acting = (o for o in options if o.identity and o.has_effect(values))
        return all(map(fits, acting))

    def rows(self) -> list[dict[str, Any]]:
        """The arguments of every run of a grid, in W&B's order; ``run_cap`` counts settings."""
        names = sorted(self.parameters)
        lists = [self.parameters[name].listed() for name in names]
        rows = [dict(zip(names, row, strict=True)) for row in itertools.product(*lists)]
        if not self.seeds:
            return rows[: self.run_cap]
        settings = [json.dumps(row | {"seed": None}) for row in rows]
        kept = set(list(dict.fromkeys(settings))[: self.run_cap])
        return [row for row, setting in zip(rows, settings, strict=True) if setting in kept]

    def grid(self) -> list[Point]:
        """Every point of a grid sweep. Raises ``InputError`` where some cannot be built."""
        return list(self._grid)

    @cached_property
    def _grid(self) -> list[Point]:
        points = self.points(self.rows())
        wrong = [point for point in points if point.problem]
        if wrong and len(wrong) == len(points):
            raise InputError(f"{self.file}: {wrong[0].problem}")
        if wrong and not self.skip_invalid:
            raise InputError(
                f"{self.file}: {len(wrong)} of {len(points)} points cannot be built, the "
                f"first because of {wrong[0].problem}; --skip-invalid leaves them out"
            )
        return [point for point in points if not point.problem]

    def check_data(self, folder: Path = Path()) -> None:
        """Raises ``InputError`` for data that no run in ``folder`` would find; loads none."""
        for name, root in itertools.product(self._listed("data"), self._listed("data_root")):
            try:
                check_data(
                    "auto" if name is None else str(name),
                    root=None if root in NONE_SPELLINGS else Path(os.path.expanduser(str(root))),
                    working_folder=folder,
                )
            except InputError as error:
                raise InputError(f"{self.file}: {error}") from None

    def _listed(self, name: str) -> Sequence[Any]:
        fixed = (self.literals.get(name),)
        return self.parameters[name].listed() if name in self.parameters else fixed

    def with_seeds(self, count: int) -> Sweep:
        """The same sweep with every setting under seeds 0 to ``count`` - 1."""
        varied = "seed" in self.parameters and len(self.parameters["seed"].values) != 1
        if varied or "seed" in self.literals:
            raise InputError(f"{self.file}: it sets the seed itself, so --seeds cannot")
        if self.method == "bayes":
            raise InputError(f"{self.file}: --seeds is for grid and random sweeps, not for bayes")
        seeds = tuple(range(min(count, MAX_POINTS + 1)))  # more are refused below
        changed = replace(self.with_parameter("seed", Parameter("categorical", seeds)), seeds=count)
        changed.check_size()
        return changed

    def check_size(self, most: int = MAX_POINTS) -> None:
        """Raises ``InputError`` for a grid, or settings times seeds, of more than ``most``."""
        if self.method == "grid":
            count = math.prod(parameter.count for parameter in self.parameters.values())
        else:
            count = (self.run_cap or 0) * (self.seeds or 1)
        if count > most:
            raise InputError(f"{self.file}: {count:,} points; at most {most:,} in a sweep")

    def shortened(self, images: int, val_images: int | None = None) -> Sweep:
        """A rehearsal: every run trains on ``images`` images in all.

        Validation uses the first ``val_images``. Without that number, below
        ``FULL_VALIDATION_MIN_IMAGES`` it uses the first ``images // 6`` images, the proportion of
        Fashion-MNIST's 60,000 to 10,000, and never more than the file asks for or a folder of
        images holds.
        """
        if not val_images and images < FULL_VALIDATION_MIN_IMAGES:
            held_out = [folder_val_images(str(name)) for name in self._listed("data") if name]
            limits = [images // 6, *self._listed("val_images"), *held_out]
            val_images = max(1, min(int(n) for n in limits if n not in NONE_SPELLINGS))
        for name in ("images", "val_images") if val_images else ("images",):
            if name in self.literals:
                raise InputError(
                    f"{self.file}: its command sets --{name.replace('_', '-')}, so a rehearsal "
                    f"cannot; write {name} under parameters"
                )
        changed = self.with_parameter("images", Parameter("constant", (images,)))
        if val_images:
            changed = changed.with_parameter("val_images", Parameter("constant", (val_images,)))
        name = f"{self.name}-images-{images}"
        return replace(changed, name=name, config=changed.config | {"name": name})

    def plain_config(self) -> dict[str, Any]:
        """The definition without the seeds of ``with_seeds``, for a worker to read again."""
        if not self.seeds:
            return self.config
        parameters = {k: v for k, v in self.config["parameters"].items() if k != "seed"}
        return self.config | {"parameters": parameters}

    def with_parameter(self, name: str, parameter: Parameter) -> Sweep:
        """The same sweep with one parameter set, also in what is sent to W&B's server."""
        key = "value" if parameter.distribution == "constant" else "values"
        sent = parameter.values[0] if key == "value" else list(parameter.values)
        config = self.config | {"parameters": self.config["parameters"] | {name: {key: sent}}}
        return replace(self, config=config, parameters=self.parameters | {name: parameter})
