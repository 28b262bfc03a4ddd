"""The HTTP side: addresses, bodies, faults."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import traceback
import zlib
from collections import Counter
from contextlib import suppress

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from . import filestream, schema
from .faults import Faults
from .store import Store

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else each request is a line
NOT_FOUND = Response("not found", 404)
DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress}


class Listener(HTTPServer):
    """One listening socket; ``unknown`` counts the requests that have no answer here."""

    def __init__(self, port: int, store: Store, faults: Faults, unknown: Counter):
        super().__init__("127.0.0.1", port, threaded=True)
        self.store, self.faults, self.unknown = store, faults, unknown

    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(0.05)

    def application(self, request: Request) -> Response:
        fault = self.faults.meets(request.path)
        body = request.get_data()
        if fault is None:
            return self.answer(request, body)
        if not fault.hang:
            return Response("a fault of the test", fault.status)
        fault.over.wait(600)
        with suppress(OSError):  # the client may be gone
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return Response()

    def answer(self, request: Request, body: bytes) -> Response:
        decode = DECODERS.get(request.headers.get("Content-Encoding", ""), bytes)
        try:
            return self.route(request.method, request.path, decode(body))
        except Exception:
            # Answered as the client's error, or it would try again without end.
            self.unknown[f"{request.method} {request.path}: {traceback.format_exc()}"] += 1
            return Response(traceback.format_exc(), 400)

    def route(self, method: str, path: str, body: bytes) -> Response:
        blobs = self.store.blobs
        kind, _, rest = path.strip("/").partition("/")
        if path == "/":  # whether the server answers
            return Response()
        if path == "/graphql":
            return self.graphql(json.loads(body))
        if kind == "files" and rest.count("/") >= 3:
            entity, project, run_id, name = rest.split("/", 3)
            return self.run_file(method, (entity, project, run_id), name, body)
        if kind == "blobs":
            return stored(method, blobs, rest, body)
        if kind == "manifests":
            return self.manifest(method, int(rest), body)
        if kind == "sdk":  # telemetry
            return as_json({})
        self.unknown[f"{method} {path}"] += 1
        return NOT_FOUND

    def graphql(self, request: dict) -> Response:
        answer, unknown = schema.answer(self.store, self.url_for("").rstrip("/"), request)
        self.unknown.update(unknown)
        return as_json(answer)

    def run_file(self, method: str, key: tuple[str, str, str], name: str, body: bytes) -> Response:
        run = self.store.runs.get(key)
        if run is None:
            return NOT_FOUND
        if name != "file_stream":
            return stored(method, run.files, name, body)
        with self.store.lock:
            return as_json(filestream.receive(self.store, run, json.loads(body)))

    def manifest(self, method: str, number: int, body: bytes) -> Response:
        [artifact] = [a for a in self.store.artifacts if a.number == number]
        if method == "PUT":
            artifact.manifest = json.loads(body)
        return as_json(artifact.manifest)


def as_json(value: object) -> Response:
    return Response(json.dumps(value), content_type="application/json")


def stored(method: str, files: dict[str, bytes], key: str, body: bytes) -> Response:
    """Store a body, or return what is stored."""
    if method == "PUT":
        files[key] = body
    elif key not in files:
        return NOT_FOUND
    content = files[key] if method == "GET" else b""
    return Response(content, content_type="application/octet-stream")
