"""Sweeps at work: which agent gets which point, and what becomes of a run that ends."""

from __future__ import annotations

import itertools

from .query import QueryError
from .store import Agent, Run, Store, Sweep


def heartbeat(store: Store, agent: Agent, running: dict[str, bool]) -> list[dict]:
    """The commands for an agent that reports `running` runs: a next run, exit, or nothing."""
    for run in store.sweep_runs(agent.sweep):
        if run.agent == agent.id and run.id not in running and run.state in ("pending", "running"):
            end_run(store, run, None)
    if running:
        return []
    run = next_run(store, agent.sweep)
    if run is None:
        return [{"type": "exit"}]
    command = {
        "id": run.storage_id,
        "type": "resume" if run.agent else "run",
        "run_id": run.id,
        "run_storage_id": run.storage_id,
        "program": agent.sweep.config.get("program"),
        "args": {name: {"value": value} for name, value in run.point.items()},
        "logs": [],
    }
    run.state, run.agent, run.preempting = "pending", agent.id, False
    return [command]


def next_run(store: Store, sweep: Sweep) -> Run | None:
    """The run to hand out: one that was preempted, else the next point; None when all are out."""
    if sweep.again:
        return store.runs[sweep.entity, sweep.project, sweep.again.pop(0)]
    if sweep.given < len(sweep.points):
        sweep.given += 1
        return new_run(store, sweep, sweep.given - 1)
    return None


def new_run(store: Store, sweep: Sweep, index: int) -> Run:
    point = sweep.points[index]
    return store.add_run(
        sweep.entity,
        sweep.project,
        f"{sweep.id[:4]}{index + 1:04d}",
        name=f"point-sweep-{index + 1}",
        sweep=sweep.id,
        point=point,
        raw_config={name: {"value": value} for name, value in point.items()},
    )


def end_run(store: Store, run: Run, exit_code: int | None) -> None:
    """The run ended with `exit_code`; None where its process went without a word.

    A run that was marked preempting and did not end well goes back to its sweep.
    """
    run.exit_code = exit_code
    if exit_code == 0:
        run.state = "finished"
    elif run.preempting:
        run.state = "preempted"
        if run.sweep in store.sweeps:
            store.sweeps[run.sweep].again.append(run.id)
    else:
        run.state = "crashed" if exit_code is None else "failed"


def find_sweep(store: Store, name: str) -> Sweep:
    """A sweep by its short id or its storage id. Raises QueryError when there is none."""
    for sweep in store.sweeps.values():
        if name in (sweep.id, sweep.storage_id):
            return sweep
    raise QueryError(f"sweep {name} not found")


def grid_points(config: dict) -> list[dict]:
    """The points of a grid sweep, each {parameter: value}: names sorted, the last varies fastest.

    Raises QueryError where there is no finite grid.
    """
    choices = {name: values_of(name, spec) for name, spec in sorted(config["parameters"].items())}
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def values_of(name: str, parameter: dict) -> list:
    if "value" in parameter:
        return [parameter["value"]]
    if "values" not in parameter:
        raise QueryError(f"invalid sweep config: parameter {name} has no finite grid: {parameter}")
    return parameter["values"]
