"""The GraphQL root: the queries and mutations that the W&B clients send."""

from __future__ import annotations

import json
import secrets
from urllib.parse import quote

import yaml

from .dispatch import find_sweep, grid_points, heartbeat
from .nodes import VIEWER, Nodes
from .pages import connection
from .query import Execution, QueryError
from .store import Agent, Artifact, Report, Run, Store, Sweep, blob_key, storage_id


def answer(store: Store, address: str, request: dict) -> tuple[dict, list[str]]:
    """The GraphQL response to `request`, and the fields in it that this server does not know."""
    try:
        execution = Execution(request["query"], request.get("variables") or {})
        with store.lock:
            data = execution.data(Schema(store, address).root())
        return {"data": data}, execution.unknown
    except QueryError as error:
        return {"data": None, "errors": [{"message": str(error)}]}, []


class Schema:
    def __init__(self, store: Store, address: str):
        self.store = store
        self.address = address
        self.nodes = Nodes(store, address)

    def root(self) -> dict:
        """Field -> value or resolver; a mutation's one argument is `input`."""
        return self.queries() | {
            "upsertBucket": self.upsert_run,
            "createRunFiles": self.create_run_files,
            "createArtifact": self.create_artifact,
            "createArtifactManifest": self.create_manifest,
            "createArtifactFiles": self.create_artifact_files,
            "commitArtifact": self.commit_artifact,
            "upsertSweep": self.upsert_sweep,
            "createAgent": self.create_agent,
            "agentHeartbeat": self.agent_heartbeat,
            "upsertView": self.upsert_report,
            "createAccessToken": self.share_report,
        }

    def queries(self) -> dict:
        def models(entityName: str | None = None, **page: object) -> dict:
            names = [name for entity, name in self.store.projects if entity == entityName]
            return connection(names, lambda name: self.nodes.project(name, entityName))

        return {
            "viewer": self.nodes.viewer(),
            "serverInfo": {
                "features": [],
                "cliVersionInfo": {"max_cli_version": "9.9.9", "min_cli_version": "0.10.0"},
                "latestLocalVersionInfo": None,
            },
            "entity": self.nodes.entity,
            "project": self.nodes.project,
            "model": self.nodes.project,
            "models": models,
            "view": lambda id: self.nodes.report(self.store.reports[id]),
            "artifact": lambda id: self.nodes.artifact(self.artifact(id)),
        }

    # Runs

    def upsert_run(self, input: dict) -> dict:
        entity, project = input.get("entityName") or VIEWER, input.get("modelName")
        project = project or "uncategorized"
        run = self.run_by_storage_id(input["id"]) if input.get("id") else None
        run_id = input.get("name") or secrets.token_hex(4)
        run = run or self.store.runs.get((entity, project, run_id))
        inserted = run is None
        if run is None:
            run = self.store.add_run(entity, project, run_id, name=run_id)
        self.update_run(run, input)
        return {"bucket": self.nodes.run(run), "inserted": inserted}

    def update_run(self, run: Run, input: dict) -> None:
        for key, name in RUN_FIELDS.items():
            if input.get(key) is not None:
                setattr(run, name, input[key])
        if input.get("config"):
            run.raw_config = run.raw_config | json.loads(input["config"])

    def run_by_storage_id(self, wanted: str) -> Run:
        for run in self.store.runs.values():
            if wanted in (run.storage_id, run.id):
                return run
        raise QueryError(f"run {wanted} not found")

    def create_run_files(self, input: dict) -> dict:
        run = self.store.runs[input["entityName"], input["projectName"], input["runName"]]
        return {
            "runID": run.storage_id,
            "uploadHeaders": [],
            "files": [
                {"name": name, "uploadUrl": f"{self.address}/{quote(f'files/{run.path}/{name}')}"}
                for name in input["files"]
            ],
        }

    # Artifacts

    def artifact(self, artifact_id: str) -> Artifact:
        for artifact in self.store.artifacts:
            if artifact_id in (artifact.id, artifact.client_id):
                return artifact
        raise QueryError(f"artifact {artifact_id} not found")

    def create_artifact(self, input: dict) -> dict:
        name = input.get("artifactCollectionName") or input["artifactCollectionNames"][0]
        key = (input["entityName"], input["projectName"], name)
        aliases = [item["alias"] for item in input.get("aliases") or []]
        for known in self.store.versions(key):
            if known.digest == input["digest"]:
                move_aliases(self.store, known, [*aliases, "latest"])
                return {"artifact": self.nodes.artifact(known)}
        artifact = Artifact(
            *key,
            type=input["artifactTypeName"],
            number=next(self.store.numbers),
            store=self.store,
            digest=input["digest"],
            run_id=input.get("runName"),
            client_id=input.get("clientID"),
            description=input.get("description"),
            metadata=json.loads(input.get("metadata") or "{}"),
            aliases=aliases,
        )
        self.store.artifacts.append(artifact)
        return {"artifact": self.nodes.artifact(artifact)}

    def create_manifest(self, input: dict) -> dict:
        artifact = self.artifact(input["artifactID"])
        address = f"{self.address}/manifests/{artifact.number}"
        file = {"id": address, "uploadUrl": address, "uploadHeaders": []}
        return {"artifactManifest": {"id": artifact.id, "file": file}}

    def create_artifact_files(self, input: dict) -> dict:
        def upload(spec: dict) -> dict:
            key = blob_key(spec["md5"])
            known = key in self.store.blobs
            return {
                "storagePath": f"blobs/{key}",
                "uploadUrl": None if known else f"{self.address}/blobs/{key}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": spec["artifactID"]},
            }

        return {"files": connection(input["artifactFiles"], upload)}

    def commit_artifact(self, input: dict) -> dict:
        artifact = self.artifact(input["artifactID"])
        if artifact.state != "COMMITTED":
            artifact.version = len(self.store.versions(artifact.collection))
            artifact.state = "COMMITTED"
            move_aliases(self.store, artifact, [*artifact.aliases, "latest"])
        return {"artifact": self.nodes.artifact(artifact)}

    # Sweeps

    def upsert_sweep(self, input: dict) -> dict:
        config = yaml.safe_load(input["config"])
        sweep = Sweep(
            input.get("entityName") or VIEWER,
            input.get("projectName") or "uncategorized",
            secrets.token_hex(4),
            input["config"],
            config,
            config.get("name"),
            grid_points(config),
        )
        self.store.add_project(sweep.entity, sweep.project)
        self.store.sweeps[sweep.id] = sweep
        return {"sweep": self.nodes.sweep(sweep), "configValidationWarnings": []}

    def create_agent(self, input: dict) -> dict:
        sweep = find_sweep(self.store, input["sweep"])
        number = next(self.store.numbers)
        agent = Agent(storage_id("Agent", number), sweep, input["host"])
        self.store.agents[agent.id] = agent
        return {"agent": self.nodes.agent(agent)}

    def agent_heartbeat(self, input: dict) -> dict:
        agent = self.store.agents[input["id"]]
        running = json.loads(input.get("runState") or "{}")
        commands = heartbeat(self.store, agent, running)
        return {"agent": self.nodes.agent(agent), "commands": json.dumps(commands)}

    # Reports

    def upsert_report(self, input: dict) -> dict:
        entity, project = input.get("entityName") or VIEWER, input.get("projectName") or ""
        inserted = not input.get("id")
        if inserted:
            number = next(self.store.numbers)
            name = input.get("name") or secrets.token_hex(5)
            report = Report(
                storage_id("View", number), entity, project, name, input.get("type") or "runs"
            )
        else:
            report = self.store.reports[input["id"]]
        self.store.add_project(report.entity, report.project)
        report.title = input.get("displayName") or report.title
        report.description = input.get("description") or report.description
        report.spec = json.loads(input["spec"]) if input.get("spec") else report.spec
        self.store.reports[report.id] = report
        return {"view": self.nodes.report(report), "inserted": inserted}

    def share_report(self, input: dict) -> dict:
        report = self.store.reports[input["viewId"]]
        report.share_token = secrets.token_hex(16)
        return {"accessToken": self.nodes.access_tokens(report)[0]}


RUN_FIELDS = {
    "displayName": "name",
    "groupName": "group",
    "jobType": "job_type",
    "notes": "notes",
    "description": "description",
    "commit": "commit",
    "tags": "tags",
    "sweep": "sweep",
    "state": "state",
}


def move_aliases(store: Store, artifact: Artifact, aliases: list[str]) -> None:
    """An alias stands at one version of its collection only."""
    for other in store.versions(artifact.collection):
        other.aliases = [alias for alias in other.aliases if alias not in aliases]
    artifact.aliases = list(dict.fromkeys([*artifact.aliases, *aliases]))
