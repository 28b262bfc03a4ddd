"""GraphQL nodes: what a client can ask of each thing in the store.

Field names and shapes are those the wandb 0.31 client asks for.
"""

from __future__ import annotations

import hashlib
import json

from .dispatch import find_sweep
from .pages import connection, history_keys, sampled, select, steps
from .query import QueryError
from .store import EVENTS, HISTORY, LOG, Agent, Artifact, Report, Run, Store, Sweep, timestamp

VIEWER = "tester"


class Nodes:
    """Builds the nodes of one store; `address` is the server's own, for download links."""

    def __init__(self, store: Store, address: str):
        self.store = store
        self.address = address

    def viewer(self) -> dict:
        return {
            "id": "viewer",
            "name": VIEWER,
            "username": VIEWER,
            "email": f"{VIEWER}@example.com",
            "entity": VIEWER,
            "photoUrl": None,
            "admin": False,
            "flags": "{}",
            "deletedAt": None,
            "apiKeys": connection([], dict),
            "teams": connection([], dict),
        }

    def entity(self, name: str) -> dict:
        return {
            "id": name,
            "name": name,
            "organization": None,
        }

    def project(self, name: str | None = None, entityName: str | None = None) -> dict | None:
        entity, name = entityName or VIEWER, name or ""
        if (entity, name) not in self.store.projects:
            return None
        number = self.store.projects[entity, name]
        return {
            "__typename": "Project",
            "id": str(number),
            "internalId": str(number),
            "name": name,
            "entityName": entity,
            "entity": self.entity(entity),
            "readOnly": False,
            "createdAt": timestamp(0),
            "isBenchmark": False,
            "user": self.viewer(),
        } | self.project_contents(entity, name)

    def project_contents(self, entity: str, name: str) -> dict:
        store = self.store

        def chosen(filters: str | None) -> list[Run]:
            return select(store.project_runs(entity, name), filters)

        def views(**wanted: object) -> list[Report]:
            return [
                view
                for view in store.reports.values()
                if (view.entity, view.project) == (entity, name)
                and wanted.get("viewType") in (None, view.type)
                and wanted.get("viewName") in (None, view.name)
            ]

        return {
            "run": lambda **given: self.run_or_none(entity, name, given["name"]),
            "bucket": lambda **given: self.run_or_none(entity, name, given["name"]),
            "runCount": lambda filters=None: len(chosen(filters)),
            "runs": lambda filters=None, **page: connection(chosen(filters), self.run, **page),
            "sweep": lambda sweepName: self.sweep_or_none(entity, name, sweepName),
            "allViews": lambda **given: connection(views(**given), self.report, **given),
            "artifactCollection": lambda **given: self.collection((entity, name, given["name"])),
            "artifactCollectionMembership": lambda **given: self.membership(
                store.version(entity, name, given["name"])
            ),
            "artifact": lambda **given: self.artifact(store.version(entity, name, given["name"])),
        }

    def run_or_none(self, entity: str, project: str, run_id: str) -> dict | None:
        run = self.store.runs.get((entity, project, run_id))
        return self.run(run) if run else None

    def sweep_or_none(self, entity: str, project: str, name: str) -> dict | None:
        try:
            sweep = find_sweep(self.store, name)
        except QueryError:
            return None
        return self.sweep(sweep) if (sweep.entity, sweep.project) == (entity, project) else None

    def run(self, run: Run) -> dict:
        return {
            "__typename": "Run",
            "id": run.storage_id,
            "name": run.id,
            "displayName": run.name,
            "projectId": str(self.store.projects[run.entity, run.project]),
            "project": lambda: self.project(run.project, run.entity),
            "sweepName": run.sweep,
            "group": run.group,
            "jobType": run.job_type,
            "commit": run.commit,
            "readOnly": False,
            "createdAt": timestamp(run.created),
            "heartbeatAt": timestamp(run.created),
            "description": run.description,
            "notes": run.notes,
            "tags": list(run.tags),
            "user": {"name": VIEWER, "username": VIEWER},
            "state": run.state,
            "config": lambda: json.dumps(run.raw_config),
            "summaryMetrics": lambda: json.dumps(run.summary),
        } | self.run_contents(run)

    def run_contents(self, run: Run) -> dict:
        lines, events = run.streams.get(HISTORY, []), run.streams.get(EVENTS, [])
        return {
            "systemMetrics": events[-1] if events else "{}",
            "wandbConfig": lambda **_: json.dumps(
                run.raw_config.get("_wandb", {}).get("value", {})
            ),
            "logLineCount": len(run.streams.get(LOG, [])),
            "historyLineCount": len(lines),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(lines[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "historyKeys": lambda: history_keys(run),
            "history": lambda **given: [json.dumps(row) for row in steps(run, **given)],
            "sampledHistory": lambda specs: [sampled(run, json.loads(spec)) for spec in specs],
            "parquetHistory": lambda **_: {"parquetUrls": [], "liveData": run.history},
        }

    def sweep(self, sweep: Sweep) -> dict:
        return {
            "__typename": "Sweep",
            "id": sweep.storage_id,
            "name": sweep.id,
            "displayName": sweep.name,
            "method": sweep.config.get("method"),
            "state": "RUNNING",
            "description": sweep.config.get("description"),
            "config": sweep.text,
            "createdAt": timestamp(sweep.created),
            "updatedAt": timestamp(sweep.created),
            "heartbeatAt": timestamp(sweep.created),
            "earlyStopJobRunning": False,
            "bestLoss": None,
            "controller": None,
            "scheduler": None,
            "runCount": len(self.store.sweep_runs(sweep)),
            "runCountExpected": len(sweep.points),
            "runs": lambda **page: connection(self.store.sweep_runs(sweep), self.run, **page),
            "project": lambda: self.project(sweep.project, sweep.entity),
        }

    def agent(self, agent: Agent) -> dict:
        return {"id": agent.id, "name": agent.id, "host": agent.host}

    def collection(self, key: tuple[str, str, str]) -> dict | None:
        versions = self.store.versions(key)
        if not versions:
            return None
        entity, project, name = key
        return {
            "__typename": "ArtifactSequence",
            "name": name,
            "project": lambda: self.project(project, entity),
            "latestArtifact": lambda: self.artifact(versions[-1]),
            "artifactMembership": lambda aliasName: self.membership(
                self.store.version(entity, project, f"{name}:{aliasName}")
            ),
        }

    def membership(self, artifact: Artifact | None) -> dict | None:
        if artifact is None:
            return None
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": artifact.id,
            "versionIndex": artifact.version,
            "createdAt": timestamp(0),
            "aliases": lambda: aliases(artifact),
            "artifactCollection": lambda: self.collection(artifact.collection),
            "artifact": lambda: self.artifact(artifact),
            "files": lambda **page: connection(artifact.files.items(), self.file, **page),
        }

    def file(self, file: tuple[str, bytes]) -> dict:
        name, content = file
        address = f"{self.address}/blobs/{hashlib.md5(content).hexdigest()}"
        return {"__typename": "File", "name": name, "directUrl": address}

    def artifact(self, artifact: Artifact | None) -> dict | None:
        if artifact is None:
            return None
        manifest_address = f"{self.address}/manifests/{artifact.number}"
        contents = artifact.manifest.get("contents", {})
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "artifactSequence": lambda: (
                self.collection(artifact.collection)
                or {"__typename": "ArtifactSequence", "name": artifact.name, "latestArtifact": None}
            ),
            "artifactType": {"name": artifact.type},
            "versionIndex": artifact.version,
            "description": artifact.description,
            "metadata": json.dumps(artifact.metadata),
            "ttlDurationSeconds": -2,  # W&B's word for "not set"
            "ttlIsInherited": False,
            "tags": [],
            "historyStep": None,
            "state": artifact.state,
            "size": sum(entry.get("size", 0) for entry in contents.values()),
            "digest": artifact.digest,
            "commitHash": None,
            "fileCount": len(contents),
            "createdAt": timestamp(0),
            "updatedAt": timestamp(0),
            "aliases": lambda: aliases(artifact),
            "currentManifest": {
                "id": str(artifact.number),
                "file": {"directUrl": manifest_address},
            },
        }

    def report(self, report: Report) -> dict:
        return {
            "__typename": "View",
            "id": report.id,
            "type": report.type,
            "name": report.name,
            "displayName": report.title,
            "description": report.description,
            "project": lambda: self.project(report.project, report.entity),
            "spec": json.dumps(report.spec),
            "createdAt": timestamp(0),
            "updatedAt": timestamp(0),
            "user": self.viewer(),
            "accessTokens": self.access_tokens(report),
        }

    def access_tokens(self, report: Report) -> list[dict]:
        if report.share_token is None:
            return []
        return [{"token": report.share_token, "type": "PUBLIC"}]


def aliases(artifact: Artifact) -> list[dict]:
    return [
        {"__typename": "ArtifactAlias", "id": f"{artifact.id}:{alias}", "alias": alias}
        for alias in artifact.aliases
    ]
