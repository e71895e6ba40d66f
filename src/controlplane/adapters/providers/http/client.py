"""One HTTP client per (marketplace, credential): limits, deadlines, retries of safe calls, breaker, careful reading."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, retry_if_result

from controlplane.adapters.providers.http import classify
from controlplane.adapters.providers.http.answer import Answer
from controlplane.adapters.providers.http.breaker import Breaker
from controlplane.adapters.providers.http.decode import decode
from controlplane.adapters.providers.http.errors import Held, NotSent, NotUnderstood, Unclear
from controlplane.adapters.providers.http.limiter import Limiter, Rate
from controlplane.adapters.providers.http.redact import Redactor
from controlplane.ports.clock import Clock
from controlplane.ports.meter import Count, Meter, Timing

CONNECT_S = 5.0
DEADLINE_S = 28.0
"""Of one call with its repeats; within the 30 seconds that the engine gives a call."""
PROMPT_S = 0.3
"""Until a call whose moment of sending is recorded already must be on its way."""
ATTEMPT_S = 12.0
"""Of one exchange, so that a stalled one leaves time for another."""
_MOST_BYTES = 32 << 20
_FIRST_PAUSE_S = 0.5  # before a repeat; doubles. No jitter: the limiter already spaces a process's calls

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    request: httpx2.Request
    repeatable: bool
    probing: bool
    until: float  # monotonic
    attempt_s: float
    prompt: bool


class MarketplaceClient:
    """Asks one marketplace under one credential.

    `rates` names the classes of calls and their limits. `secrets` never leave in a message. `transport` replaces the
    network, for in-process marketplaces in virtual time: all waiting goes through `clock` and the loop's own timers.
    Raises httpx2.InvalidURL for a `base_url` that is none.
    """

    def __init__(
        self, provider: str, base_url: str, *, headers: Mapping[str, str], rates: Mapping[str, Rate],
        secrets: tuple[str, ...], clock: Clock, meter: Meter, transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.breaker = Breaker(provider, clock)
        self._limiter = Limiter(rates, clock)
        self._redactor = Redactor(secrets)
        self._clock, self._meter = clock, meter
        self._headers = {"Accept": "application/json", "User-Agent": "gpuplane", **headers}
        self._base_url = str(httpx2.URL(base_url)).rstrip("/")
        timeout = httpx2.Timeout(None, connect=CONNECT_S, pool=CONNECT_S)  # the whole exchange has its own deadline
        self._http = httpx2.AsyncClient(timeout=timeout, transport=transport, verify=_tls())
        # What is sent once gets a connection of its own: one that was kept may be closed under it, and then nobody
        # knows whether it arrived.
        self._once = httpx2.AsyncClient(
            timeout=timeout, transport=transport, verify=_tls(), limits=httpx2.Limits(max_keepalive_connections=0)
        )

    async def admit(self, call: str, *, probing: bool = False, within_s: float = DEADLINE_S) -> None:
        """Take a turn ahead of `request(..., admitted=True)`. Raises Held when there is none in time, and at once
        while the provider is known to be down unless the call is `probing`."""
        self.breaker.check(tries=probing)
        await self._limiter.turn(call, within_s)

    async def request(
        self, call: str, method: str, path: str, *, json: Any = None, query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None, safe: bool | None = None, admitted: bool = False,
        prompt: bool = False, probing: bool = False, deadline_s: float = DEADLINE_S, attempt_s: float = ATTEMPT_S,
    ) -> Answer:  # fmt: skip
        """The answer, whatever its status.

        `call` is the class of the call, for limits and metrics. Safe calls (None: those that GET) are repeated after
        lost answers, 429 and 5xx while `deadline_s` lasts; others are sent once. `admitted`: a turn was taken.
        `prompt`: it is sent within `PROMPT_S` or not at all, since the moment of sending is recorded already.
        `probing` calls go out even while the provider is known to be down. Raises NotSent, Held or Unclear.
        """
        repeatable = method == "GET" if safe is None else safe
        request = self._build(method, path, json, query, headers)
        asked = _Call(call, request, repeatable, probing, self._clock.monotonic() + deadline_s, attempt_s, prompt)
        turns = iter([admitted])  # a turn that was taken serves the first attempt

        async def attempt() -> Answer:
            return await self._attempt(asked, turn_taken=next(turns, False))

        answer = await (self._repeating(asked)(attempt) if repeatable else attempt())
        if answer.status == 429 or answer.status >= 500:
            log.warning(
                "provider.call_failed", provider=self.provider, call=call, status=answer.status, reason=answer.reason
            )
        return answer

    async def fetch(self, url: str, *, deadline_s: float = ATTEMPT_S) -> Answer:
        """GET an address that the provider gave, once and without the credential: it leads to a store of files."""
        try:
            request = httpx2.Request("GET", url, headers={"User-Agent": self._headers["User-Agent"]})
        except httpx2.InvalidURL:
            raise NotUnderstood("an address that is none") from None
        return await self._exchange(self._http, request, deadline_s)

    def redacted(self, text: str) -> str:
        """A provider's words as one short line, fit for logs and attempts."""
        return self._redactor.line(text)

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()
        await self._once.aclose()

    def _build(
        self, method: str, path: str, json: Any, query: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> httpx2.Request:
        named = {**self._headers, **(headers or {})}
        # As bytes: a credential of odd characters is the provider's to refuse, not ours to stumble over. What was read
        # from a file ends with a line break, which no header may hold.
        sent = [(name.encode(), value.strip().encode()) for name, value in named.items()]
        return self._http.build_request(method, self._base_url + path, json=json, params=query, headers=sent)

    def _repeating(self, call: _Call) -> AsyncRetrying:
        def pause(state: RetryCallState) -> float:
            answer = _answer_of(state)
            if answer is not None and answer.status == 429:
                return 0.0  # the limiter keeps the silence
            asked = answer.retry_after_s if answer is not None else None
            return asked if asked is not None else _FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1)

        def too_late(state: RetryCallState) -> bool:
            return self._clock.monotonic() + state.upcoming_sleep >= call.until

        return AsyncRetrying(
            sleep=self._clock.sleep, wait=pause, stop=too_late,
            retry=retry_if_result(_worth_repeating) | retry_if_exception(_lost),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )  # fmt: skip

    async def _attempt(self, call: _Call, *, turn_taken: bool) -> Answer:
        tries = self.breaker.enter() or call.probing
        self.breaker.check(tries=tries)
        until = min(call.until, self._clock.monotonic() + PROMPT_S) if call.prompt else call.until
        if not turn_taken:
            await self._limiter.turn(call.name, until - self._clock.monotonic())
        await self._limiter.send(call.name, until - self._clock.monotonic())
        self.breaker.check(tries=tries)  # it may have gone down meanwhile
        began = self._clock.monotonic()
        if began >= call.until:
            raise Held("its turn came too late")
        try:
            http = self._http if call.repeatable else self._once
            answer = await self._exchange(http, call.request, min(call.attempt_s, call.until - began))
        except (NotSent, Unclear) as error:
            self._meter.count(Count.MARKETPLACE_ANSWERS, self.provider, call.name, "none")
            self.breaker.failed(str(error))
            log.warning("provider.no_answer", provider=self.provider, call=call.name, reason=str(error))
            raise
        finally:
            took_s = self._clock.monotonic() - began
            self._meter.observe(Timing.PROVIDER_CALL, took_s, self.provider, f"http/{call.name}")
        self._learn(call.name, answer)
        return answer

    def _learn(self, call: str, answer: Answer) -> None:
        """What an answer means for the calls after it."""
        kind = "429" if answer.status == 429 else f"{answer.status // 100}xx"
        self._meter.count(Count.MARKETPLACE_ANSWERS, self.provider, call, kind)
        if answer.status >= 500:
            self.breaker.failed(f"it answers status {answer.status}")
        else:
            self.breaker.succeeded()
        if answer.status == 429:
            silent_s = self._limiter.refused(call, answer.retry_after_s)
            log.info("provider.limited", provider=self.provider, call=call, silent_s=round(silent_s, 1))
        elif answer.status < 500:
            self._limiter.accepted(call)

    async def _exchange(self, http: httpx2.AsyncClient, request: httpx2.Request, deadline_s: float) -> Answer:
        """Send and read to the end."""
        sent_at = self._clock.now()
        try:
            async with asyncio.timeout(deadline_s):
                response = await http.send(request, stream=True)
                try:
                    body = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise Unclear(f"no answer within {deadline_s:.0f} s") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            raise NotSent(_why_not_sent(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Unclear(f"the answer was broken off ({type(error).__name__})") from None
        return await self._answer(response.status_code, response.headers, body, sent_at)

    async def _answer(self, status: int, headers: Mapping[str, str], body: bytes, sent_at: int) -> Answer:
        try:
            value, is_json = await decode(body), True
        except ValueError:
            value, is_json = None, False
        said = classify.reason_of(value) if is_json else ""
        if not said and not is_json and body.lstrip()[:1] != b"<":
            said = body[:1000].decode("utf-8", "replace")
        now = self._clock.now()
        after = classify.retry_after_s(headers, body, now) if status in (429, 503) else None
        return Answer(status, headers, body, value, is_json, self.redacted(said), sent_at, after)


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: it holds every certificate authority."""
    return httpx2.create_ssl_context()


async def _read(response: httpx2.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > _MOST_BYTES:
            raise NotUnderstood(f"an answer of more than {_MOST_BYTES >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _answer_of(state: RetryCallState) -> Answer | None:
    outcome = state.outcome
    return outcome.result() if outcome is not None and not outcome.failed else None


def _worth_repeating(answer: Answer) -> bool:
    return answer.status == 429 or answer.status >= 500


def _lost(error: BaseException) -> bool:
    return isinstance(error, (NotSent, Unclear)) and not isinstance(error, Held)


def _why_not_sent(error: Exception) -> str:
    cause = str(error).lower()
    if "ssl" in cause or "certificate" in cause or "tls" in cause:
        return "the TLS handshake failed"
    return "no connection within the deadline" if isinstance(error, httpx2.TimeoutException) else "no connection"
