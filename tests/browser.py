"""A real browser for the tests: headless Chromium through its WebDriver, plain HTTP and JSON."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAMS = ("chromium", "chromedriver")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,1600",
)  # fmt: skip


class Browser:
    """One session; errors of the page's scripts are kept in the browser's log."""

    def __init__(self, port: int, profile: str) -> None:
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._post("", {"capabilities": {"alwaysMatch": wanted}})
        self.base += "/" + answer["sessionId"]

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the function body ``script`` returns; ``arguments[0]`` and on are given to it."""
        return self._post("/execute/sync", {"script": script, "args": arguments})

    def click(self, selector: str) -> None:
        """A real click of the mouse on the first element that ``selector`` finds."""
        found = self._post("/element", {"using": "css selector", "value": selector})
        self._post(f"/element/{next(iter(found.values()))}/click", {})

    def prefer(self, scheme: str) -> None:
        """The reader's system is ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._debug("Emulation.setEmulatedMedia", features=features)

    def resize(self, width: int, height: int) -> None:
        """The page is shown ``width`` pixels wide, whatever the window's least width."""
        size = {"width": width, "height": height}
        command = "Emulation.setDeviceMetricsOverride"
        self._debug(command, **size, deviceScaleFactor=1, mobile=width < 600)

    def log(self) -> list[str]:
        """Messages of the console since the last call: errors, blocked requests."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call(urllib.request.Request(self.base, method="DELETE"))

    def _debug(self, command: str, **parameters: Any) -> None:
        self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._call(urllib.request.Request(self.base + path, data, headers))

    def _call(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a fresh profile, ended with its driver."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = next(line for line in driver.stdout or () if "successfully" in line)
        port = int(re.findall(r"port (\d+)", line)[0])
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            session = Browser(port, profile)
            try:
                yield session
            finally:
                session.close()
    finally:
        driver.terminate()
        driver.wait(10)
