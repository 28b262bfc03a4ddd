"""What the server keeps, all of it in memory: projects, runs, artifacts, sweeps, reports.

Tests read these objects; only the request handlers write them, under `Store.lock`.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

HISTORY, EVENTS, SUMMARY, LOG = (
    "wandb-history.jsonl",
    "wandb-events.jsonl",
    "wandb-summary.json",
    "output.log",
)


def storage_id(kind: str, name: object) -> str:
    """An id as W&B gives them out: base64 text (its clients decode artifact ids)."""
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Run:
    """A run as the server knows it. `state`: pending, running, finished, failed, crashed,
    preempted. In a sweep: `point`, its parameters, and `agent`, who was given it last."""

    entity: str
    project: str
    id: str
    number: int
    name: str = ""
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    description: str | None = None
    commit: str | None = None
    tags: list[str] = field(default_factory=list)
    sweep: str | None = None
    state: str = "running"
    exit_code: int | None = None
    point: dict = field(default_factory=dict)
    agent: str | None = None
    preempting: bool = False
    created: float = field(default_factory=time.time)
    raw_config: dict = field(default_factory=dict)
    streams: dict[str, list[str]] = field(default_factory=dict, repr=False)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def storage_id(self) -> str:
        return storage_id("Run", self.path)

    @property
    def config(self) -> dict:
        """Plain values by key, without W&B's own."""
        return {
            key: item["value"] if isinstance(item, dict) and "value" in item else item
            for key, item in self.raw_config.items()
            if key != "_wandb"
        }

    @property
    def summary(self) -> dict:
        lines = self.streams.get(SUMMARY)
        return json.loads(lines[-1]) if lines else {}

    @property
    def rows(self) -> list[dict]:
        """The history as received, line by line: a step sent twice stands here twice."""
        return [json.loads(line) for line in self.streams.get(HISTORY, [])]

    @property
    def history(self) -> list[dict]:
        """One row per step, in order of steps."""
        merged: dict[int, dict] = {}
        for row in self.rows:
            merged.setdefault(row["_step"], {}).update(row)
        return [merged[step] for step in sorted(merged)]

    @property
    def logs(self) -> list[str]:
        """The console, line by line; W&B's client writes "TIME " or "ERROR TIME " before each."""
        return self.streams.get(LOG, [])


@dataclass(eq=False)
class Artifact:
    """One version of a collection. `files`: what its manifest names, as bytes."""

    entity: str
    project: str
    name: str
    type: str
    number: int
    digest: str
    store: Store = field(repr=False)
    run_id: str | None = None
    version: int = 0
    client_id: str | None = None
    description: str | None = None
    metadata: dict = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    state: str = "PENDING"
    manifest: dict = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        return storage_id("Artifact", self.number)

    @property
    def collection(self) -> tuple[str, str, str]:
        return self.entity, self.project, self.name

    @property
    def files(self) -> dict[str, bytes]:
        return {
            name: self.store.blobs[blob_key(entry["digest"])]
            for name, entry in self.manifest.get("contents", {}).items()
            if "ref" not in entry
        }


def blob_key(digest: str) -> str:
    """Contents are kept by their hash; manifests give it in base64, download addresses in hex."""
    return binascii.hexlify(base64.b64decode(digest)).decode()


@dataclass(eq=False)
class Sweep:
    """A sweep: the first `given` of its `points` are handed out; runs in `again` go out again."""

    entity: str
    project: str
    id: str
    text: str
    config: dict
    name: str | None
    points: list[dict]
    created: float = field(default_factory=time.time)
    given: int = 0
    again: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def storage_id(self) -> str:
        return storage_id("Sweep", self.path)


@dataclass(eq=False)
class Agent:
    id: str
    sweep: Sweep
    host: str


@dataclass(eq=False)
class Report:
    """A saved view: a report, its draft, or a workspace."""

    id: str
    entity: str
    project: str
    name: str
    type: str
    title: str = ""
    description: str = ""
    spec: dict = field(default_factory=dict, repr=False)
    share_token: str | None = None


class Store:
    """Everything the server received. Hold `lock` while changing anything."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.projects: dict[tuple[str, str], int] = {}
        self.runs: dict[tuple[str, str, str], Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.artifacts: list[Artifact] = []
        self.reports: dict[str, Report] = {}
        self.blobs: dict[str, bytes] = {}

    def add_project(self, entity: str, project: str) -> None:
        if (entity, project) not in self.projects:
            self.projects[entity, project] = next(self.numbers)

    def add_run(self, entity: str, project: str, run_id: str, **fields: Any) -> Run:
        self.add_project(entity, project)
        run = Run(entity, project, run_id, next(self.numbers), **fields)
        self.runs[entity, project, run_id] = run
        return run

    def project_runs(self, entity: str, project: str) -> list[Run]:
        return [run for run in self.runs.values() if (run.entity, run.project) == (entity, project)]

    def sweep_runs(self, sweep: Sweep) -> list[Run]:
        return [
            run for run in self.project_runs(sweep.entity, sweep.project) if run.sweep == sweep.id
        ]

    def version(self, entity: str, project: str, name: str) -> Artifact | None:
        """The artifact called `name`: "collection:alias", "collection:v3", or "collection"."""
        collection, _, alias = name.partition(":")
        for artifact in self.versions((entity, project, collection)):
            if (alias or "latest") in (*artifact.aliases, f"v{artifact.version}"):
                return artifact
        return None

    def versions(self, collection: tuple[str, str, str]) -> list[Artifact]:
        """The committed versions of a collection, oldest first."""
        return [
            artifact
            for artifact in self.artifacts
            if artifact.collection == collection and artifact.state == "COMMITTED"
        ]
