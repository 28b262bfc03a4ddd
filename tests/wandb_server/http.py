"""The HTTP side: addresses, bodies, connections."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import traceback
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from . import filestream, schema
from .faults import Faults
from .store import Store

Reply = tuple[int, bytes, str]  # status, body, content type
NOT_FOUND: Reply = (404, b"not found", "text/plain")


class Listener(ThreadingHTTPServer):
    """One listening socket with its connections; `unknown` counts what nobody here answers."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, store: Store, faults: Faults, unknown: Counter):
        super().__init__(("127.0.0.1", port), Handler)
        self.store = store
        self.faults = faults
        self.unknown = unknown
        self.connections: set[socket.socket] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request, client_address) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no news; anything else is a fault of this server."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End every open connection, as a crashed server would."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.connections.discard(connection)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the clients keep their connections
    timeout = 60
    server: Listener

    def log_message(self, *_: object) -> None:
        """Tests look at the store instead of a log."""

    def do_GET(self) -> None:
        self.handle_one("GET")

    def do_POST(self) -> None:
        self.handle_one("POST")

    def do_PUT(self) -> None:
        self.handle_one("PUT")

    def handle_one(self, method: str) -> None:
        body = self.read_body()
        path = unquote(urlsplit(self.path).path)
        fault = self.server.faults.meets(path)
        if fault is not None and fault.hang:
            fault.over.wait(600)
            self.close_connection = True
        elif fault is not None:
            self.reply(fault.status, b"this server was told to fail")
        else:
            self.answer(method, path, body)

    def answer(self, method: str, path: str, body: bytes) -> None:
        try:
            status, reply, kind = self.route(method, path, body)
        except Exception as error:
            # Answered as the client's fault, or it would try again without end.
            self.server.unknown[f"{method} {path}: {traceback.format_exc()}"] += 1
            status, reply, kind = 400, repr(error).encode(), "text/plain"
        self.reply(status, reply, kind)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self.read_chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        encoding = self.headers.get("Content-Encoding")
        if encoding == "gzip":
            return gzip.decompress(body)
        return zlib.decompress(body) if encoding == "deflate" else body

    def read_chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def route(self, method: str, path: str, body: bytes) -> Reply:
        store = self.server.store
        room, _, rest = path.strip("/").partition("/")
        if path == "/graphql":
            return self.graphql(json.loads(body))
        if room == "files" and rest.count("/") >= 3:
            entity, project, run_id, name = rest.split("/", 3)
            return self.run_file(method, (entity, project, run_id), name, body)
        if room == "blobs":
            return stored(method, store.blobs, rest, body)
        if room == "artifactsV2":
            return stored("GET", store.blobs, path.split("/")[-2], b"")
        if room == "manifests":
            return self.manifest(method, int(rest), body)
        if room == "sdk":  # telemetry
            return as_json({})
        self.server.unknown[f"{method} {path}"] += 1
        return NOT_FOUND

    def graphql(self, request: dict) -> Reply:
        answer, unknown = schema.answer(self.server.store, self.server.address, request)
        self.server.unknown.update(unknown)
        return as_json(answer)

    def run_file(self, method: str, key: tuple[str, str, str], name: str, body: bytes) -> Reply:
        run = self.server.store.runs.get(key)
        if run is None:
            return NOT_FOUND
        if name != "file_stream":
            return stored(method, run.files, name, body)
        with self.server.store.lock:
            return as_json(filestream.receive(self.server.store, run, json.loads(body)))

    def manifest(self, method: str, number: int, body: bytes) -> Reply:
        (artifact,) = [a for a in self.server.store.artifacts if a.number == number]
        if method == "PUT":
            artifact.manifest = json.loads(body)
        return as_json(artifact.manifest)

    def reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def as_json(value: object) -> Reply:
    return 200, json.dumps(value).encode(), "application/json"


def stored(method: str, shelf: dict[str, bytes], key: str, body: bytes) -> Reply:
    """Put a body on a shelf, or take it from there."""
    if method == "PUT":
        shelf[key] = body
    elif key not in shelf:
        return NOT_FOUND
    return 200, shelf[key] if method == "GET" else b"", "application/octet-stream"
