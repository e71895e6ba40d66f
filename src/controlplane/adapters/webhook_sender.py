"""Posting to receivers of webhooks, each time to an address that was just judged."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import httpx2

from controlplane.adapters.outbound import AddressGuard, Refused, Target
from controlplane.ports.webhooks import Answer

TIMEOUT_S = 10.0
READ_MOST = 4096  # of an answer's body, so that its sender finds it taken; then the connection is closed


class HttpWebhookSender:
    """`WebhookSender` over HTTP/1.1. `trusted` replaces the usual certificate authorities, for tests."""

    def __init__(
        self, guard: AddressGuard, timeout_s: float = TIMEOUT_S, trusted: ssl.SSLContext | None = None
    ) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        # No connection is kept: the pool tells them by address, and one address may serve many names. No proxy of our
        # environment is used: it would resolve the name for itself.
        self._client = httpx2.AsyncClient(
            verify=trusted or True, trust_env=False, timeout=None,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    async def send(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """See `WebhookSender.send`."""
        seen: list[int] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._post(await self._guard.target(url), headers, body, seen)
        except TimeoutError:
            return Answer(seen[0]) if seen else Answer(0, f"no answer within {self._timeout_s:g} s")
        except Refused as error:
            return Answer(0, f"the URL {error}")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Answer(seen[0]) if seen else Answer(0, _words(error))
        return Answer(seen[0])

    async def _post(self, target: Target, headers: Sequence[tuple[str, str]], body: bytes, seen: list[int]) -> None:
        """Post; the status is in `seen` as soon as it is known."""
        request = self._client.build_request(
            "POST", target.url, content=body,
            headers=[
                ("Host", target.authority), ("Content-Type", "application/json"), ("User-Agent", "gpuplane-webhooks"),
                *headers,
            ],
            extensions={"sni_hostname": target.host},  # the certificate is checked for the name, too
        )  # fmt: skip
        answer = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            seen.append(answer.status_code)
            left = READ_MOST
            async for part in answer.aiter_raw(1024):
                left -= len(part)
                if left <= 0:
                    break
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _words(error: Exception) -> str:
    """What the endpoint's owner may know."""
    if isinstance(error, httpx2.ConnectError):
        cause = str(error).lower()
        return "the TLS handshake failed" if "ssl" in cause or "certificate" in cause else "the connection was refused"
    if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL):
        return "the answer was broken off or is not HTTP"
    return str(error) if type(error) is OSError else "the receiver is not reachable"
