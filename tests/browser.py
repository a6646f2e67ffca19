"""Headless Chromium, spoken to over the DevTools protocol through a pair of pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

SECONDS = 30  # until it counts as hung
FLAGS = (
    *("--headless=new", "--no-first-run", "--disable-gpu", "--no-sandbox", "--remote-debugging-pipe"),
    *("--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-dev-shm-usage"),
    "--use-fake-device-for-media-stream",
)


class Browser:
    """One Chromium; `microphone` is a wav that it hears over and over."""

    def __init__(self, profile: Path, microphone: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            pytest.skip("`chromium` is not installed (make system-tools)")
        its_input, self._to = os.pipe()
        self._from, its_output = os.pipe()
        heard = f"--use-file-for-fake-audio-capture={microphone}"
        command = [chromium, *FLAGS, heard, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(  # it reads its descriptor 3 and writes to 4
            ["bash", "-c", f'exec "$@" 3<&{its_input} 4>&{its_output}', "bash", *command],
            pass_fds=(its_input, its_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        self._rest, self._count = b"", 0

    def call(self, method: str, session: str = "", **params: Any) -> Any:
        """The result of a method of the protocol. Fails the test on an error or after SECONDS."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, "Chromium does not answer"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def allow_microphone(self, address: str, allowed: bool) -> None:
        """What its user answers to a page that asks for the microphone."""
        setting = "granted" if allowed else "denied"
        self.call("Browser.setPermission", permission={"name": "microphone"}, setting=setting, origin=address)

    @contextmanager
    def tab(self, url: str) -> Iterator[Tab]:
        """A page of its own."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        made = Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        made.call("Emulation.setDeviceMetricsOverride", width=1000, height=860, deviceScaleFactor=1, mobile=False)
        yield made
        self.call("Target.closeTarget", targetId=target)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._to)
        os.close(self._from)


class Tab:
    """A page that is open."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method of the protocol."""
        return self._browser.call(method, self._session, **params)

    def run(self, code: str) -> Any:
        """What an expression, or the promise that it is, gives. Fails the test when it throws."""
        settings = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", expression=code, **settings)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def wait(self, selector: str, text: str) -> None:
        """Until an element says a text. Fails the test when that takes longer than SECONDS."""
        deadline = time.monotonic() + SECONDS
        while (said := self.text(selector)) != text:
            assert time.monotonic() < deadline, f"{selector} says `{said}`, not `{text}`"
            time.sleep(0.05)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a static server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()
