"""Sweep files: W&B's YAML as people write it, checked and completed."""

import itertools
import math
import os
import re
from pathlib import Path
from typing import Any

from common.errors import InputError, nearest
from common.options import Boolean
from experiment.settings import Settings, options_of
from models.registry import NETS
from sweeps.parameters import (
    check_keys,
    flat_parameters,
    is_number,
    parse_parameter,
    require_one_of,
)
from sweeps.space import Sweep
from sweeps.yaml_file import read_yaml
from tasks.metrics import goal_of, optimizable

TOP_KEYS = (
    "program", "method", "metric", "parameters", "name", "description", "project", "entity",
    "command", "early_terminate", "run_cap", "group", "tags", "notes",
)  # fmt: skip
TEXT_KEYS = ("name", "description", "project", "entity", "program", "group", "notes")
REFUSED_KEYS = {
    "metrics": "several objectives are not supported; write metric with one name",
    "scheduler": "W&B Launch's schedulers are not supported; the workers of this command run it",
    "job": "W&B Launch's jobs are not supported; write program: train.py",
    "image_uri": "W&B Launch's images are not supported; write program: train.py",
    "queue": "W&B Launch's queues are not supported; see docs/sweeps.md for SLURM",
    "controller": "local controllers are not supported; without a server the offline engine runs",
}
METHODS = ("grid", "random", "bayes")
EARLY_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
MAX_POINTS = 10_000
INTERPRETER = re.compile(r"\$\{(env|interpreter)\}|(.*/)?(env|python[\d.]*)|-u")


def read_sweep(file: Path, skip_invalid: bool = False) -> Sweep:
    """Read and check a sweep file.

    Raises ``InputError`` for bad YAML (with line and column), unknown keys, parameters the
    command does not have, values it does not take, a grid that never ends and a metric that is
    never logged.
    """
    config, header = read_yaml(file)
    return parse_sweep(file, config, header, skip_invalid=skip_invalid)


def parse_sweep(
    file: Path, config: dict[str, Any], header: str = "", *, skip_invalid: bool = False
) -> Sweep:
    """A sweep from its definition (of ``file``, or of W&B's server); errors of ``read_sweep``."""
    config = {key: v for key, v in config.items() if not str(key).startswith("x-")}
    for key in config:
        if key in REFUSED_KEYS:
            raise InputError(f"{file}: {key}: {REFUSED_KEYS[key]}")
    check_keys(file, config, TOP_KEYS, "a key of a sweep file")
    for key in ("method", "parameters"):
        if key not in config:
            raise InputError(f"{file}: {key} is missing; see sweep_configs/smoke.yaml")
    method = require_one_of(file, "method", config["method"], METHODS)
    specs = flat_parameters(file, config["parameters"])
    name = str(config.get("name") or file.stem)
    config |= {key: str(config[key]) for key in TEXT_KEYS if config.get(key) is not None}
    tags = config.get("tags")
    if tags is not None:
        config["tags"] = [str(tag) for tag in (tags if isinstance(tags, list) else [tags])]
    commands, literals, command = _command(file, config, specs)
    metric = _metric(file, config.get("metric"), commands)
    config |= {"name": name, "parameters": specs, "command": command, "metric": metric}
    sweep = Sweep(
        file=file, name=name, header=header, commands=commands, method=method,
        metric=metric["name"], goal=metric["goal"], config=config, literals=literals,
        skip_invalid=skip_invalid,
        parameters={key: parse_parameter(file, key, spec) for key, spec in specs.items()},
    )  # fmt: skip
    _check_cap(sweep)
    _check_early_terminate(sweep)
    _check_values(sweep)
    return sweep


def _command(
    file: Path, config: dict[str, Any], specs: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """The commands that run, options written in ``command``, and the command for W&B's agent."""
    given = config.get("command")
    several = _several_commands(file, specs)
    if given is None:
        named = [] if several else [_only_task(file, config, specs)]
        sent = ["${env}", "${interpreter}", "${program}", *named, "${args}"]
        return several or tuple(named), {}, sent
    items = [str(item) for item in given] if isinstance(given, list) else []
    rest = [item for item in items if not INTERPRETER.fullmatch(item)]
    args = [item for item in rest if item.startswith("${args")]
    rest = [_environment(file, item) for item in rest if not item.startswith("${args")]
    first = 1 if several else 2  # of the items after the command
    program = rest[0] if rest else ""
    known = program == "${program}" or program.endswith(".py")
    if len(args) != 1 or len(rest) < first or not known:
        raise InputError(
            f"{file}: command must be [${{env}}, ${{interpreter}}, ${{program}}, COMMAND, "
            f"${{args}}] with COMMAND one of {', '.join(NETS)}, or the parameter command"
        )
    sent = ["${args}" if item in args else item for item in items]
    commands = several or (require_one_of(file, "command", rest[1], tuple(NETS)),)
    return commands, _literals(file, commands[0], rest[first:], specs), sent


def _several_commands(file: Path, specs: dict[str, Any]) -> tuple[str, ...]:
    """The values of the parameter ``command``, () without one. Raises ``InputError``."""
    if "command" not in specs:
        return ()
    listed = parse_parameter(file, "command", specs["command"]).listed()
    commands = tuple(
        require_one_of(file, "parameter command", value, tuple(NETS)) for value in listed
    )
    if len({NETS[command].task for command in commands}) > 1:
        raise InputError(f"{file}: parameter command: all must be of one task, for example unet")
    return commands


def _environment(file: Path, item: str) -> str:
    """``item`` with ``${envvar:X}`` replaced."""
    for name in re.findall(r"\$\{envvar:(\w+)\}", item):
        if name not in os.environ:
            raise InputError(f"{file}: command: the environment variable {name} is not set")
        item = item.replace(f"${{envvar:{name}}}", os.environ[name])
    return item


def _only_task(file: Path, config: dict[str, Any], specs: dict[str, Any]) -> str:
    """The command meant by a file without one: the first that has all parameters and the metric.

    Raises ``InputError`` where commands of both tasks fit.
    """
    metric = config.get("metric")
    name = metric.get("name") if isinstance(metric, dict) else None
    fitting = [
        task
        for task in NETS
        if set(specs) <= set(options_of(task)) and name in (None, *optimizable(NETS[task].task))
    ]
    if len({NETS[task].task for task in fitting}) != 1:
        raise InputError(
            f"{file}: command is missing, and its parameters fit {', '.join(fitting) or 'none'}; "
            f"write command: [${{env}}, ${{interpreter}}, ${{program}}, "
            f"{(fitting or ['resconv'])[0]}, ${{args}}]"
        )
    return fitting[0]


def _literals(file: Path, task: str, items: list[str], specs: dict[str, Any]) -> dict[str, Any]:
    """Options written in the command: ``--x=1``, ``--x 1``, ``--flag``, ``--no-flag``."""
    found: dict[str, Any] = {}
    options, items = options_of(task), list(items)
    while items:
        text, equals, value = items.pop(0).partition("=")
        name = text.removeprefix("--").replace("-", "_")
        if not text.startswith("--"):
            raise InputError(f"{file}: command: {text} is no option, for example --images=640")
        if not equals and name.startswith("no_") and name not in options:
            name, value = name.removeprefix("no_"), "False"
        elif not equals and name in options and isinstance(options[name].read, Boolean):
            value = "True"
        elif not equals:
            value = items.pop(0) if items else ""
        if name in specs:
            raise InputError(f"{file}: --{name} is in command and in parameters; give it once")
        found[name] = value
    try:
        Settings.parse(task, found)
    except InputError as error:
        raise InputError(f"{file}: command: {error}") from None
    return found


def _metric(file: Path, metric: Any, commands: tuple[str, ...]) -> dict[str, Any]:
    """The metric with its goal. By default, the objective of the first command."""
    known = optimizable(NETS[commands[0]].task)
    if metric is None:
        metric = {"name": Settings.parse(commands[0], {}).task.objective}
    if not isinstance(metric, dict) or "name" not in metric:
        raise InputError(f"{file}: metric must have a name, for example name: val/l1")
    check_keys(file, metric, ("name", "goal", "target"), "a key of metric")
    name = metric["name"]
    if name not in known:
        raise InputError(
            f"{file}: metric {name} is never logged by {commands[0]}, which logs "
            f"{', '.join(known)}.{nearest(str(name), known)}"
        )
    goal = require_one_of(file, "goal", metric.get("goal", goal_of(name)), ("minimize", "maximize"))
    if goal != goal_of(name):
        raise InputError(f"{file}: goal {goal}: {name} is to {goal_of(name)}; write that or none")
    target = metric.get("target")
    if target is not None and not is_number(target):
        raise InputError(f"{file}: metric: target {target}: must be a number, for example 0.05")
    return dict(metric) | {"goal": goal}


def _check_cap(sweep: Sweep) -> None:
    cap = sweep.run_cap
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        raise InputError(f"{sweep.file}: run_cap {cap}: must be a whole number from 1 up")
    if sweep.method != "grid":
        if cap is None:
            raise InputError(
                f"{sweep.file}: a {sweep.method} sweep without an end; add run_cap, for example "
                "run_cap: 30"
            )
        return
    for name, parameter in sweep.parameters.items():
        if parameter.is_continuous:
            raise InputError(
                f"{sweep.file}: parameter {name}: a grid over a continuous range never ends; list "
                "values: or use method: random with run_cap"
            )
    count = math.prod(parameter.count for parameter in sweep.parameters.values())
    if count > MAX_POINTS:
        raise InputError(f"{sweep.file}: {count:,} points; at most {MAX_POINTS:,} in a grid")


def _check_early_terminate(sweep: Sweep) -> None:
    rule, file = sweep.early_terminate, sweep.file
    if rule is None:
        return
    if not isinstance(rule, dict) or rule.get("type") != "hyperband":
        raise InputError(f"{file}: early_terminate must be type: hyperband with min_iter")
    check_keys(file, rule, EARLY_KEYS, "a key of early_terminate")
    counts = [rule[key] for key in ("min_iter", "max_iter", "s") if key in rule]
    counts += [rule.get("eta", 3) - 1] if isinstance(rule.get("eta", 3), int) else [None]
    if not all(isinstance(n, int) and n >= 1 for n in counts):
        raise InputError(
            f"{file}: early_terminate: min_iter, max_iter and s are whole numbers from 1 up, eta "
            "from 2 up"
        )
    if "min_iter" not in rule and not {"max_iter", "s"} <= set(rule):
        raise InputError(f"{file}: early_terminate needs min_iter, or max_iter and s")


def _check_values(sweep: Sweep) -> None:
    """Every value must be one that its option takes. A grid's combinations must fit, too.

    A point of a random or bayes sweep whose values do not fit together fails by itself.
    """
    named = {name: p for name, p in sweep.parameters.items() if name != "command"}
    for command, (name, parameter) in itertools.product(sweep.commands, named.items()):
        options = options_of(command)
        if name not in options:  # raises with the nearest name
            sweep.settings({"command": command, name: parameter.examples()[0]})
        for value in parameter.examples():
            try:
                options[name].read(name, value)
            except InputError as error:
                raise InputError(f"{sweep.file}: {error}") from None
    if sweep.method == "grid":
        sweep.grid()
