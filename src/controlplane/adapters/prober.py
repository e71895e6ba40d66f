"""Readiness of machines over SSH and HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from urllib.parse import urlsplit

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from controlplane.ports.probe import ProbeResult
from controlplane.ports.provider import SshEndpoint

PROBE_COMMAND = "gpuplane-probe"  # a machine that restricts the key runs its own command instead
REFUSED = "SSH refused the probe key"
ANOTHER_KEY = "SSH presented another host key than the one on record"
_ANSWER_LIMIT = 1 << 20
_HEALTH_PATHS = ("/health", "/")


def probe_public_key(seed: bytes) -> str:
    """The OpenSSH line to install for a 32-byte ed25519 seed."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " gpuplane-probe"


class SshProber:
    """`Prober` for real machines."""

    def public_key(self, private_seed: bytes) -> str:
        """See `Prober.public_key`."""
        return probe_public_key(private_seed)

    async def probe(self, endpoint: SshEndpoint, private_seed: bytes, deadline_s: float) -> ProbeResult:
        """See `Prober.probe`."""
        meeting = _Meeting(endpoint.host_key)
        try:
            async with asyncio.timeout(deadline_s):
                reason = await _login(endpoint, private_seed, meeting)
        except TimeoutError:
            reason = f"SSH did not answer within {deadline_s:.0f} s"
        return ProbeResult(not reason, meeting.met, reason, reason == ANOTHER_KEY, reason == REFUSED)

    async def model_health(self, url: str, api_key: str, deadline_s: float) -> ProbeResult:
        """See `Prober.model_health`."""
        reason, permanent = await asyncio.to_thread(_get_models, url, api_key, deadline_s)
        return ProbeResult(not reason, "", reason, permanent)

    async def jupyter_health(self, url: str, token: str, deadline_s: float) -> ProbeResult:
        """See `Prober.jupyter_health`."""
        asked = (f"{url}/api/status", f"token {token}", deadline_s, "Jupyter server")
        reason, permanent, _ = await asyncio.to_thread(_get, *asked)
        return ProbeResult(not reason, "", reason, permanent)

    async def http_health(self, url: str, deadline_s: float) -> ProbeResult:
        """See `Prober.http_health`."""
        reason = await asyncio.to_thread(_get_health, url.rstrip("/"), deadline_s)
        return ProbeResult(not reason, "", reason)


class _Meeting(asyncssh.SSHClient):
    """Judges the host key and remembers it."""

    def __init__(self, pinned: str) -> None:
        self.met = ""
        self._pinned = asyncssh.import_public_key(pinned) if pinned else None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.met = " ".join(key.export_public_key("openssh").decode().split()[:2])
        return self._pinned is None or key.public_data == self._pinned.public_data


async def _login(endpoint: SshEndpoint, seed: bytes, meeting: _Meeting) -> str:
    """Why not; empty when it could log in and the command ran."""
    try:
        async with asyncssh.connect(
            endpoint.host,
            endpoint.port,
            username=endpoint.user,
            client_keys=[_private_key(seed)],
            client_factory=lambda: meeting,
            known_hosts=([], [], []),  # nobody is known: every key comes to `meeting`
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            compression_algs=None,
        ) as connection:
            done = await connection.run(PROBE_COMMAND, stdin=asyncssh.DEVNULL)
    except asyncssh.PermissionDenied:
        return REFUSED
    except asyncssh.HostKeyNotVerifiable:
        return ANOTHER_KEY
    except (OSError, asyncssh.Error) as error:
        return f"SSH is not reachable: {_words(error)}"
    return "" if done.exit_status == 0 else f"the probe command ended with {done.exit_status}"


def _private_key(seed: bytes) -> asyncssh.SSHKey:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return asyncssh.import_private_key(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def _get_models(url: str, api_key: str, deadline_s: float) -> tuple[str, bool]:
    bearer = f"Bearer {api_key}" if api_key else ""
    reason, permanent, body = _get(f"{url.rstrip('/')}/models", bearer, deadline_s, "model server")
    return (reason, permanent) if reason else _judge_models(body)


def _get_health(url: str, deadline_s: float) -> str:
    """Why the server is not up. One that forbids or moves `/health` is asked for `/`; a failure of its own there means
    that it is still coming up."""
    what = "server"
    for path in _HEALTH_PATHS:
        failure, status, _ = _exchange(f"{url}{path}", "", deadline_s / len(_HEALTH_PATHS), what, 0)
        if failure:
            return failure
        if 200 <= status < 300 or status == 404:
            return ""
        if status >= 500:
            break
    return f"the {what} answered {status}"


def _get(url: str, authorization: str, deadline_s: float, what: str) -> tuple[str, bool, bytes]:
    """Why not, whether that is final, and the body of a 200."""
    failure, status, body = _exchange(url, authorization, deadline_s, what, _ANSWER_LIMIT)
    if failure:
        return failure, False, b""
    if status in (401, 403):
        return f"the {what} refused the key ({status})", True, b""
    if status != 200:
        return f"the {what} answered {status}", False, b""
    return "", False, body


def _exchange(url: str, authorization: str, deadline_s: float, what: str, most: int) -> tuple[str, int, bytes]:
    """Why there is no answer; or its status, and so much of its body."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=deadline_s)
    try:
        connection.request("GET", parts.path, headers={"Authorization": authorization} if authorization else {})
        answer = connection.getresponse()
        return "", answer.status, answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        return f"the {what} is not reachable: {_words(error)}", 0, b""
    finally:
        connection.close()


def _judge_models(body: bytes) -> tuple[str, bool]:
    try:
        listed = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        return "the model server did not answer with a list of models", False
    return ("", False) if listed else ("the model server lists no model yet", False)


def _words(error: Exception) -> str:
    if isinstance(error, asyncssh.Error):
        return str(error.reason)
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    return getattr(error, "strerror", None) or type(error).__name__
