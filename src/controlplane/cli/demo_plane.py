"""The plane that `gpuplane demo` starts for itself, and REST calls to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from controlplane.cli.errors import Failure

_START_S = 60
_STOP_S = 20
_LOG_LINES = 15


class Plane:
    """A throw-away control plane. On leaving, its machines are ended, then the plane, then its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpuplane-demo-"))
        self._log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.last_words = ""  # of the server's log, once it is stopped
        self._key = ""

    def __enter__(self) -> Plane:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, show: bool = False) -> Any:
        """One REST call; with `show`, the same call for curl is printed first."""
        if show:
            click.secho(f"$ {self._as_curl(method, path, body)}", fg="cyan")
        with self._open(method, path, body) as answer:
            return json.load(answer)

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """Server-sent events, each a JSON object."""
        click.secho(f"$ {self._as_curl('GET', path, None)} -N", fg="cyan")
        with self._open("GET", path, None, timeout=90) as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def _start(self) -> None:
        # A clean slate: settings of the caller's own plane must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUPLANE_")}
        environment["GPUPLANE_LOCAL_SIMULATED"] = "1"
        command = [
            sys.executable,
            "-m",
            "controlplane",
            "up",
            "--state",
            str(self.folder / "state"),
            "--port",
            "0",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        Retrying(
            retry=retry_if_result(lambda ready: not ready),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(_START_S),
            retry_error_callback=_not_ready,
        )(self._is_ready)

    def _is_ready(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise Failure(f"the plane stopped at once (exit code {self._process.returncode})")
        try:
            state = self.folder / "state"
            self.url = json.loads((state / "endpoints.json").read_text())["rest"]
            self._key = json.loads((state / "credentials.json").read_text())["keys"]["gpuplane"]
            return bool(self.call("GET", "/ready")["ready"])
        except (OSError, ValueError, KeyError, Failure):
            return False

    def _stop(self) -> None:
        try:
            if self._process and self._process.poll() is None:
                self._end_machines()
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        finally:
            if self._log.exists():
                self.last_words = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_machines(self) -> None:
        """Local machines outlive their plane by design; those of a failed demo must not."""
        try:
            left = self.call("GET", "/gpuplane/v1/instances?active_only=true")["instances"]
            for instance in left:
                ending = self.call("POST", f"/gpuplane/v1/instances/{instance['id']}/terminate", {"force": True})
                self.call("POST", f"/gpuplane/v1/operations/{ending['id']}/wait", {"timeout": "20s"})
        except (OSError, ValueError, KeyError, Failure):
            return

    def _open(self, method: str, path: str, body: dict[str, Any] | None, timeout: float = 40) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        return fetch(request, timeout)

    def _as_curl(self, method: str, path: str, body: dict[str, Any] | None) -> str:
        data = f" -d '{json.dumps(body)}'" if body is not None else ""
        verb = f" -X {method}" if method not in ("GET", "POST") else ""
        return f"curl -s{verb} '{self.url}{path}' -H \"Authorization: Bearer $KEY\"{data}"


def _not_ready(_: RetryCallState) -> None:
    raise Failure(f"the plane was not ready after {_START_S} s")


def fetch(request: urllib.request.Request, timeout: float) -> Any:
    """Send it past any proxy: everything here is on this host."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise Failure(f"{request.method} {request.full_url} answered {error.code}: {said[:500]}") from None
    except urllib.error.URLError as error:
        raise Failure(f"{request.method} {request.full_url}: {error.reason}") from None
