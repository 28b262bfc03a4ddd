from __future__ import annotations

import http.server
import socket
import threading

import pytest

from data import download as cache
from data.download import download


@pytest.fixture
def url(monkeypatch):
    """A server on this machine that answers any request for headers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file.gz"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_is_whole_or_absent(tmp_path, url):
    folder = tmp_path / "cache" / "set"

    def breaks(part):
        (part / "half").write_text("half")
        raise OSError("connection reset")

    with pytest.raises(OSError, match="connection reset"):
        download(folder, url, breaks)
    assert list(folder.parent.iterdir()) == []
    assert socket.getdefaulttimeout() is None

    download(folder, url, lambda part: (part / "file").write_text("first"))
    download(folder, url, lambda part: (part / "file").write_text("second"))
    assert [p.name for p in folder.parent.iterdir()] == ["set"]
    assert (folder / "file").read_text() == "first", "another process may be reading it"


def test_a_refusing_and_a_silent_server_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(cache, "PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: no answer"):
            download(tmp_path / "set", f"http://127.0.0.1:{port}/", pytest.fail)
    with pytest.raises(OSError, match="refused"):
        download(tmp_path / "set", f"http://127.0.0.1:{port}/", pytest.fail)
    assert list(tmp_path.iterdir()) == []
