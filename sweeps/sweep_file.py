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
    refuse_reserved,
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
GOALS = ("minimize", "maximize")
EARLY_COUNTS = {"min_iter": 1, "max_iter": 1, "s": 1, "eta": 2}  # with their least values
PROGRAM = "train.py"
INTERPRETER = re.compile(r"\$\{(env|interpreter)\}|(.*/)?(env|python[\d.]*)|-u")


def read_sweep(file: Path, skip_invalid: bool = False) -> Sweep:
    """Read and check a sweep file. Raises ``InputError`` for the first thing wrong in it."""
    return parse_sweep(file, read_yaml(file)[0], skip_invalid=skip_invalid)


def parse_sweep(file: Path, config: dict[str, Any], *, skip_invalid: bool = False) -> Sweep:
    """A sweep from its definition (of ``file``, or of W&B's server); errors of ``read_sweep``."""
    try:
        sweep = _parse(file, config, skip_invalid)
        _check_cap(sweep)
        _check_early_terminate(sweep)
        _check_values(sweep)
    except InputError as error:
        raise InputError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from None
    return sweep


def _parse(file: Path, config: dict[str, Any], skip_invalid: bool) -> Sweep:
    config = {key: v for key, v in config.items() if not str(key).startswith("x-")}
    for key in config:
        if key in REFUSED_KEYS:
            raise InputError(f"{key}: {REFUSED_KEYS[key]}")
    check_keys(config, TOP_KEYS, "a key of a sweep file")
    for key in ("method", "parameters"):
        if key not in config:
            raise InputError(f"{key} is missing; see sweep_configs/smoke.yaml")
    config |= {key: str(config[key]) for key in TEXT_KEYS if config.get(key) is not None}
    program = config.get("program") or PROGRAM
    if Path(program).name != PROGRAM:
        raise InputError(f"program {program}: must be {PROGRAM}")
    if (tags := config.get("tags")) is not None:
        config["tags"] = [str(tag) for tag in (tags if isinstance(tags, list) else [tags])]
    specs = flat_parameters(config["parameters"])
    commands, literals, command = _command(config, specs)
    metric = _metric(config.get("metric"), commands[0])
    name = config.get("name") or file.stem
    config |= {"name": name, "parameters": specs, "command": command, "metric": metric}
    return Sweep(
        file=file, name=name, commands=commands, config=config, literals=literals,
        method=require_one_of("method", config["method"], METHODS),
        metric=metric["name"], goal=metric["goal"], skip_invalid=skip_invalid,
        parameters={key: parse_parameter(key, spec) for key, spec in specs.items()},
    )  # fmt: skip


def _command(
    config: dict[str, Any], specs: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """The commands that run, options written in ``command``, and the command for W&B's agent."""
    given, several = config.get("command"), _several_commands(specs)
    if given is None:
        commands = several or (_only_command(config.get("metric"), specs),)
        named = [] if several else commands
        return commands, {}, ["${env}", "${interpreter}", "${program}", *named, "${args}"]
    items = [str(item) for item in given] if isinstance(given, list) else []
    args = [item for item in items if item.startswith("${args")]
    rest = [
        re.sub(r"\$\{envvar:(\w+)\}", _environment_variable, item)
        for item in items
        if item not in args and not INTERPRETER.fullmatch(item)
    ]
    first = 1 if several else 2  # of the items after the command
    known = bool(rest) and (rest[0] == "${program}" or rest[0].endswith(".py"))
    if len(args) != 1 or len(rest) < first or not known:
        raise InputError(
            "command must be [${env}, ${interpreter}, ${program}, COMMAND, ${args}] with COMMAND "
            f"one of {', '.join(NETS)}, or the parameter command"
        )
    commands = several or (require_one_of("command", rest[1], NETS),)
    sent = ["${args}" if item in args else item for item in items]
    return commands, _literals(commands[0], rest[first:], specs), sent


def _several_commands(specs: dict[str, Any]) -> tuple[str, ...]:
    """The values of the parameter ``command``, () without one."""
    if "command" not in specs:
        return ()
    listed = parse_parameter("command", specs["command"]).listed()
    commands = tuple(require_one_of("parameter command", value, NETS) for value in listed)
    if len({NETS[command].task for command in commands}) > 1:
        raise InputError("parameter command: all must be of one task, for example unet")
    return commands


def _environment_variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise InputError(f"command: the environment variable {match[1]} is not set")
    return os.environ[match[1]]


def _only_command(metric: Any, specs: dict[str, Any]) -> str:
    """The command meant by a file without one: the first that has all parameters and the metric.

    Raises ``InputError`` where commands of both tasks fit.
    """
    name = metric.get("name") if isinstance(metric, dict) else None
    fitting = [
        command
        for command, net in NETS.items()
        if set(specs) <= set(options_of(command)) and name in (None, *optimizable(net.task))
    ]
    if len({NETS[command].task for command in fitting}) != 1:
        raise InputError(
            f"command is missing, and its parameters fit {', '.join(fitting) or 'none'}; write "
            f"command: [${{env}}, ${{interpreter}}, ${{program}}, {(fitting or ['resconv'])[0]}, "
            "${args}]"
        )
    return fitting[0]


def _literals(command: str, items: list[str], specs: dict[str, Any]) -> dict[str, Any]:
    """Options written in the command: ``--x=1``, ``--x 1``, ``--flag``, ``--no-flag``."""
    found: dict[str, Any] = {}
    options, items = options_of(command), list(items)
    while items:
        text, equals, value = items.pop(0).partition("=")
        name = text.removeprefix("--").replace("-", "_")
        if not text.startswith("--"):
            raise InputError(f"command: {text} is no option, for example --images=640")
        if not equals and name.startswith("no_") and name not in options:
            name, value = name.removeprefix("no_"), "False"
        elif not equals and name in options and isinstance(options[name].read, Boolean):
            value = "True"
        elif not equals:
            value = items.pop(0) if items else ""
        refuse_reserved(name)
        if name in specs:
            raise InputError(f"--{name} is in command and in parameters; give it once")
        found[name] = value
    Settings.parse(command, found)
    return found


def _metric(metric: Any, command: str) -> dict[str, Any]:
    """The metric with its goal. By default, the objective of the command."""
    known = optimizable(NETS[command].task)
    if metric is None:
        metric = {"name": Settings.parse(command, {}).task.objective}
    if not isinstance(metric, dict) or "name" not in metric:
        raise InputError("metric must have a name, for example name: val/l1")
    check_keys(metric, ("name", "goal", "target"), "a key of metric")
    name = metric["name"]
    if name not in known:
        raise InputError(
            f"metric {name} is never logged by {command}, which logs {', '.join(known)}."
            f"{nearest(str(name), known)}"
        )
    goal = require_one_of("goal", metric.get("goal", goal_of(name)), GOALS)
    if goal != goal_of(name):
        raise InputError(
            f"goal {goal}: must be {goal_of(name)} for {name}; write that, or leave goal out"
        )
    target = metric.get("target")
    if target is not None and not is_number(target):
        raise InputError(f"metric: target {target}: must be a number, for example 0.05")
    return metric | {"goal": goal}


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_cap(sweep: Sweep) -> None:
    if sweep.run_cap is not None and not _is_count(sweep.run_cap):
        raise InputError(f"run_cap {sweep.run_cap}: must be a whole number from 1 up")
    if sweep.method != "grid":
        if sweep.run_cap is None:
            raise InputError(
                f"a {sweep.method} sweep without an end; add run_cap, for example run_cap: 30"
            )
        return
    for name, parameter in sweep.parameters.items():
        if parameter.count == math.inf:
            raise InputError(
                f"parameter {name}: a grid over a continuous range never ends; list values: or use "
                "method: random with run_cap"
            )
    sweep.check_size()


def _check_early_terminate(sweep: Sweep) -> None:
    rule = sweep.config.get("early_terminate")
    if rule is None:
        return
    if not isinstance(rule, dict) or rule.get("type") != "hyperband":
        raise InputError("early_terminate must be type: hyperband with min_iter")
    check_keys(rule, ("type", *EARLY_COUNTS, "strict"), "a key of early_terminate")
    if not all(_is_count(rule.get(key, least), least) for key, least in EARLY_COUNTS.items()):
        raise InputError(
            "early_terminate: min_iter, max_iter and s are whole numbers from 1 up, eta from 2 up"
        )
    if "min_iter" not in rule and not {"max_iter", "s"} <= set(rule):
        raise InputError("early_terminate needs min_iter, or max_iter and s")


def _check_values(sweep: Sweep) -> None:
    """Every value must be one that its option takes. A grid's combinations must fit, too.

    A point of a random or bayes sweep whose values do not fit together fails by itself.
    """
    for command, name in itertools.product(sweep.commands, sweep.parameters):
        options, examples = options_of(command), sweep.parameters[name].examples()
        if name not in (*options, "command"):  # raises with the nearest name
            Settings.parse(command, {name: examples[0]})
        for value in examples if name in options else ():
            options[name].read(name, value)
    if sweep.method == "grid":
        sweep.grid()
