from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest

from data import download as module
from data.download import cache_folder, download


@pytest.fixture
def url(file_server, tmp_path) -> str:
    """The address of the files ``a`` and ``b``."""
    for name in "ab":
        (tmp_path / "served" / name).write_text(name)
    return file_server


def md5(text: str) -> str:
    return f"md5:{hashlib.md5(text.encode()).hexdigest()}"


def test_a_download_is_complete_or_absent(tmp_path, url):
    folder = tmp_path / "cache" / "set"
    with pytest.raises(OSError, match="404"):
        download(folder, {f"{url}/a": md5("a"), f"{url}/missing": md5("b")})
    with pytest.raises(ValueError, match=r"MD5|hash"):
        download(folder, {f"{url}/a": md5("a"), f"{url}/b": md5("x")})
    assert list(folder.parent.iterdir()) == []

    download(folder, {f"{url}/a": md5("a"), f"{url}/b": md5("b")})
    assert sorted(p.name for p in folder.iterdir()) == ["a", "b"]
    download(folder, {f"{url}/b": md5("b")})
    assert [p.name for p in folder.parent.iterdir()] == ["set"]
    assert (folder / "a").read_text() == "a", "another process may be reading it"


def test_refusing_and_silent_servers_end_the_download(tmp_path, monkeypatch, url):
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.3)
    monkeypatch.setattr(module, "STALL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OSError, match=f"{address}: no answer"):
            download(tmp_path / "set", {f"http://{address}/a": md5("a")})
        with pytest.raises(OSError, match="timed out"):
            download(tmp_path / "set", {f"{url}/a": md5("a"), f"http://{address}/b": md5("b")})
    with pytest.raises(OSError, match="refused"):
        download(tmp_path / "set", {f"http://{address}/a": md5("a")})
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


def test_the_cache_works_without_a_home_directory(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder().name == "convtune" and cache_folder().is_absolute()
