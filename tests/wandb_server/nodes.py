"""GraphQL nodes: what a client can ask of each thing in the store.

Field names and shapes are those the wandb 0.31 client asks for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import quote

from . import filters
from .dispatch import find_sweep
from .pages import connection, history_keys, matching, sampled, steps
from .query import QueryError
from .store import EVENTS, HISTORY, Agent, Artifact, Report, Run, Store, Sweep, timestamp

VIEWER = "tester"


class Nodes:
    """Builds the nodes of one store; `address` is the server's own, for download links."""

    def __init__(self, store: Store, address: str):
        self.store = store
        self.address = address

    def viewer(self) -> dict:
        return {
            "__typename": "User",
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
            "__typename": "Entity",
            "id": name,
            "name": name,
            "isTeam": False,
            "organization": None,
            "xxhashDigestsEnabled": False,
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
            "description": None,
            "access": "PRIVATE",
            "user": self.viewer(),
            "views": "{}",
        } | self.project_contents(entity, name)

    def project_contents(self, entity: str, name: str) -> dict:
        store = self.store

        def chosen(filters_: str | None, order: str | None = None) -> list[Run]:
            return filters.select(store.project_runs(entity, name), filters_, order)

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
            "runs": lambda filters=None, order=None, **page: connection(
                chosen(filters, order), self.run, **page
            ),
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
            "host": run.host,
            "readOnly": False,
            "createdAt": timestamp(run.created),
            "heartbeatAt": timestamp(run.heartbeat),
            "description": run.description,
            "notes": run.notes,
            "tags": list(run.tags),
            "user": {"name": VIEWER, "username": VIEWER},
            "state": run.state,
            "exitcode": run.exit_code,
            "shouldStop": False,
            "stopped": False,
            "failed": run.state == "failed",
            "running": run.state == "running",
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
            "logLineCount": len(run.logs),
            "historyLineCount": len(lines),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(lines[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "historyKeys": lambda: history_keys(run),
            "history": lambda **given: [json.dumps(row) for row in steps(run, **given)],
            "sampledHistory": lambda specs: [sampled(run, json.loads(spec)) for spec in specs],
            "parquetHistory": lambda **_: {"parquetUrls": [], "liveData": run.history},
            "fileCount": len(run.files),
            "files": lambda names=None, pattern=None, **page: connection(
                matching(sorted(run.files), names, pattern),
                lambda name: self.file(f"files/{run.path}", name, run.files[name]),
                **page,
            ),
            "outputArtifacts": lambda **page: connection(
                self.store.logged(run), self.artifact, **page
            ),
        }

    def file(self, folder: str, name: str, content: bytes) -> dict:
        address = f"{self.address}/{quote(f'{folder}/{name}')}"
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
        return {
            "__typename": "File",
            "id": name,
            "name": name,
            "displayName": name,
            "url": lambda **_: address,
            "directUrl": address,
            "sizeBytes": len(content),
            "mimetype": None,
            "updatedAt": timestamp(0),
            "md5": md5,
            "digest": md5,
            "storagePath": name,
        }

    def sweep(self, sweep: Sweep) -> dict:
        runs = self.store.sweep_runs(sweep)
        return {
            "__typename": "Sweep",
            "id": sweep.storage_id,
            "name": sweep.id,
            "displayName": sweep.name,
            "method": sweep.config.get("method"),
            "state": sweep.state,
            "description": sweep.config.get("description"),
            "config": sweep.text,
            "createdAt": timestamp(sweep.created),
            "updatedAt": timestamp(sweep.created),
            "heartbeatAt": timestamp(sweep.created),
            "earlyStopJobRunning": False,
            "bestLoss": best_loss(sweep, runs),
            "controller": None,
            "scheduler": None,
            "runCount": len(runs),
            "runCountExpected": len(sweep.points),
            "runs": lambda **page: connection(runs, self.run, **page),
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
            "id": name,
            "name": name,
            "digestAlgorithm": "MANIFEST_MD5",
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
            "createdAt": timestamp(artifact.created),
            "aliases": lambda: self.aliases(artifact),
            "artifactCollection": lambda: self.collection(artifact.collection),
            "artifact": lambda: self.artifact(artifact),
            "files": lambda names=None, **page: connection(
                matching(artifact.manifest.get("contents", {}), names),
                lambda name: self.artifact_file(artifact, name),
                **page,
            ),
        }

    def artifact_file(self, artifact: Artifact, name: str) -> dict | None:
        content = artifact.files.get(name)
        if content is None:
            return None
        key = hashlib.md5(content).hexdigest()
        return self.file("", name, content) | {"directUrl": f"{self.address}/blobs/{key}"}

    def aliases(self, artifact: Artifact) -> list[dict]:
        return [
            {
                "__typename": "ArtifactAlias",
                "id": f"{artifact.id}:{alias}",
                "alias": alias,
                "artifactCollection": lambda: self.collection(artifact.collection),
            }
            for alias in artifact.aliases
        ]

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
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": None,
            "fileCount": len(contents),
            "createdAt": timestamp(artifact.created),
            "updatedAt": timestamp(artifact.created),
            "aliases": lambda: self.aliases(artifact),
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
            "createdAt": timestamp(report.updated),
            "updatedAt": timestamp(report.updated),
            "user": self.viewer(),
            "accessTokens": self.access_tokens(report),
        }

    def access_tokens(self, report: Report) -> list[dict]:
        if report.share_token is None:
            return []
        projects = [
            {"entityName": project["entityName"], "name": project["projectName"]}
            for project in report.share_projects
        ]
        token = {"token": report.share_token, "type": "PUBLIC", "revokedAt": None}
        return [token | {"projects": projects}]


def best_loss(sweep: Sweep, runs: list[Run]) -> float | None:
    metric = sweep.config.get("metric", {})
    found = [filters.inside(run.summary, metric.get("name", "")) for run in runs]
    known = [value for value in found if isinstance(value, (int, float))]
    if not known:
        return None
    return max(known) if metric.get("goal") == "maximize" else min(known)
