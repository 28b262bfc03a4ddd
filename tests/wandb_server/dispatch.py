"""Sweeps at work: which agent gets which point, and what becomes of a run that ends."""

from __future__ import annotations

import time

from .query import QueryError
from .store import Agent, Run, Store, Sweep


def heartbeat(store: Store, agent: Agent, running: dict[str, bool]) -> list[dict]:
    """The commands for an agent that reports `running` runs: the next run, or exit, or nothing."""
    for run_id in agent.runs:
        run = store.runs[agent.sweep.entity, agent.sweep.project, run_id]
        if run_id not in running and run.state in ("pending", "running"):
            end_run(store, run, None)
    agent.runs = [run_id for run_id in agent.runs if run_id in running]
    if running:
        return []
    command = next_run(store, agent.sweep)
    if command is None:
        return [{"type": "exit"}]
    agent.runs.append(command["run_id"])
    return [command]


def next_run(store: Store, sweep: Sweep) -> dict | None:
    """The command that starts the next point; a run that was preempted comes first."""
    if sweep.state in ("CANCELED", "FINISHED"):
        return None
    if sweep.again:
        run = store.runs[sweep.entity, sweep.project, sweep.again.pop(0)]
        kind = "resume"
    elif sweep.given < len(sweep.points):
        run, kind = new_run(store, sweep, sweep.given), "run"
        sweep.given += 1
    else:
        if not any(run.state in ("pending", "running") for run in store.sweep_runs(sweep)):
            sweep.state = "FINISHED"
        return None
    sweep.state = "RUNNING"
    run.state = "pending"
    return {
        "id": run.storage_id,
        "type": kind,
        "run_id": run.id,
        "run_storage_id": run.storage_id,
        "program": sweep.config.get("program"),
        "args": {name: {"value": value} for name, value in run.point.items()},
        "logs": [],
    }


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
    run.heartbeat = time.time()
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
