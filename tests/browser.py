"""A headless Chromium for tests of pages, told what to do through a pipe (the Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0  # seconds until a page must have done what it was told
OPTIONS = (
    "--headless=new --no-sandbox --remote-debugging-pipe --hide-scrollbars --no-first-run --disable-extensions "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage --mute-audio"
)
SPAWN = (  # the browser reads from 3 and writes to 4
    "import fcntl, os, sys; a, b = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """A browser that runs; :meth:`open` opens a page in it."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self.process, self._commands, self._answers = process, commands, answers
        self._last, self._unread, self.messages = 0, b"", []  # type: ignore[var-annotated]

    def open(
        self, address: str, width: int = 1280, height: int = 800, ratio: float = 1, touch: bool = False
    ) -> BrowserPage:
        """Open a page, as large as this in CSS pixels; ``ratio`` device pixels for each, by a finger if ``touch``."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = BrowserPage(self, session, target)
        for domain in ("Page", "Runtime"):
            page.call(f"{domain}.enable")
        page.resize(width, height, ratio, touch)
        page.call("Page.navigate", url=address)
        page.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")
        return page

    def call(self, method: str, session: str | None = None, **arguments: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": arguments}
        if session:
            command["sessionId"] = session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._read()).get("id") != self._last:
            self.messages.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], PATIENCE)[0]:
                pytest.fail("the browser does not answer")
            chunk = os.read(self._answers, 1 << 20)
            if not chunk:
                pytest.fail("the browser has ended")
            self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]


class BrowserPage:
    """A page, and what its user does."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self.target = browser, session, target

    def call(self, method: str, **arguments: Any) -> Any:
        return self.browser.call(method, self.session, **arguments)

    def resize(self, width: int, height: int, ratio: float = 1, touch: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=touch
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=5 if touch else 1)

    def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, script: str, what: str = "") -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(script)):
            if time.monotonic() > end:
                Image.fromarray(self.screen()).save("screen.png")
                pytest.fail(f"{what or script}: not within {PATIENCE:.0f} s, see screen.png")
            time.sleep(0.05)
        return value

    def screen(self) -> np.ndarray:
        """(H, W, 3): what the page shows."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def mouse(self, kind: str, x: float, y: float, button: str = "left", **more: Any) -> None:
        """``kind``: Pressed, Released, Moved or Wheel; in CSS pixels from the upper left corner."""
        more = {"clickCount": 1} | more
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button=button, **more)

    def click(self, x: float, y: float) -> None:
        self.mouse("Pressed", x, y)
        self.mouse("Released", x, y)

    def drag(self, x: float, y: float, right: float, down: float, button: str = "left", steps: int = 5) -> None:
        self.mouse("Pressed", x, y, button)
        for i in range(1, steps + 1):
            self.mouse("Moved", x + right * i / steps, y + down * i / steps, button)
            time.sleep(0.02)
        self.mouse("Released", x + right, y + down, button)

    def fingers(self, *paths: tuple[tuple[float, float], tuple[float, float]], steps: int = 6) -> None:
        """Move fingers from here to there, at the same time."""
        for i in range(steps + 1):
            points = [
                {"x": a[0] + (b[0] - a[0]) * i / steps, "y": a[1] + (b[1] - a[1]) * i / steps, "id": n}
                for n, (a, b) in enumerate(paths)
            ]
            self.call("Input.dispatchTouchEvent", type="touchMove" if i else "touchStart", touchPoints=points)
            time.sleep(0.02)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str) -> None:
        text = key if len(key) == 1 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)


@contextmanager
def browser() -> Iterator[Browser]:
    """A new browser; skips where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("pages: no Chromium is installed (apt install chromium)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (to_it, commands), (answers, from_it) = os.pipe(), os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", SPAWN, str(to_it), str(from_it), program, *OPTIONS.split()]
            + [f"--user-data-dir={Path(folder)}"],
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        try:
            yield Browser(process, commands, answers)
        finally:
            process.terminate()
            process.wait()
            os.close(commands)
            os.close(answers)
