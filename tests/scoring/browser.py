"""A small WebDriver client for Debian's chromium, by the standard library alone."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
ABSENT = "Debian's packages chromium and chromium-driver are not installed"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One page in a headless browser; use it as a context manager."""

    def __init__(
        self, profile: Path, width: int = 1280, height: int = 900, *flags: str
    ) -> None:
        self._command = [str(DRIVER), "--port=0", "--log-level=SEVERE"]
        emulation = {"deviceMetrics": {"width": width, "height": height}}
        self._wanted = {
            "timeouts": {"script": 120_000, "pageLoad": 120_000},
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {
                "binary": CHROMIUM,
                "args": [*FLAGS, *flags, f"--user-data-dir={profile}"],
                "mobileEmulation": emulation,
            },
        }

    def __enter__(self) -> Browser:
        self._driver = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._ask("", None, "DELETE")
        finally:
            self._stop()

    def open(self, path: Path) -> None:
        """Load a local file and wait until its load event."""
        self._ask("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Return what a function body in JavaScript returns."""
        return self._ask("/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """Wait until an expression is truthy, and return its value."""
        poll = (
            "const done = arguments[0]; (function look() { const value = "
            + script
            + "; if (value) done(value); else setTimeout(look, 20); })()"
        )
        return self._ask("/execute/async", {"script": poll, "args": []})

    def press(self, *keys: str) -> None:
        """Press and release keys one after another, as a keyboard does."""
        actions = [
            {"type": kind, "value": key}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("/actions", {"actions": [source]})

    def console(self) -> list[str]:
        """Return the messages on the console since the last call."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def command(self, name: str, **parameters: Any) -> Any:
        """Return what a command of Chromium's own protocol returns."""
        body = {"cmd": name, "params": parameters}
        return self._ask("/goog/cdp/execute", body)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.command("Emulation.setDeviceMetricsOverride", mobile=False, **size)

    def prefer(self, scheme: str = "", media: str = "") -> None:
        """Emulate a wish for the scheme light or dark, and a medium such as print."""
        wish = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=wish)

    def screenshot(self, path: Path, most: float = 16_000.0) -> None:
        """Write the page, or as many pixels of its height as are asked for, as PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "height": min(most, size["height"]), "scale": 1}
        box = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        shot = self.command("Page.captureScreenshot", **box)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print(self) -> bytes:
        """Return the page printed on A4 as PDF."""
        page = {"width": 21.0, "height": 29.7}
        return base64.b64decode(self._ask("/print", {"page": page, "background": True}))

    def _start(self) -> None:
        """Open a session; a busy machine may miss chromium's own deadline once."""
        assert self._driver.stdout is not None
        line = next(line for line in self._driver.stdout if "successfully" in line)
        self._url = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}/session"
        wanted = {"capabilities": {"alwaysMatch": self._wanted}}
        try:
            session = self._ask("", wanted)
        except urllib.error.HTTPError as error:
            error.close()
            session = self._ask("", wanted)
        self._url += "/" + session["sessionId"]

    def _stop(self) -> None:
        """End the driver and with it the browser."""
        self._driver.terminate()
        self._driver.communicate()

    def _ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Send one command; with a body it is a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=180) as answer:
            return json.loads(answer.read())["value"]


if __name__ == "__main__":  # report.html picture.png height
    with tempfile.TemporaryDirectory() as name, Browser(Path(name), 940) as shown:
        shown.open(Path(sys.argv[1]))
        shown.wait("document.body.dataset.ready")
        shown.screenshot(Path(sys.argv[2]), float(sys.argv[3]))
