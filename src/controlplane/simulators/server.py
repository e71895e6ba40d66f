"""A marketplace model behind a real socket: HTTP/1.1 with kept-alive connections and connections cut on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import structlog

from controlplane.simulators.control import PREFIX, control
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Cut, CutPoint, Outcome, Request, Response, json_response

_READ = 64 * 1024
_BODY_LIMIT = 4 << 20
_IDLE_S = 75.0
_TEND_S = 0.1
_FAILED_S = 1.0  # until machines that could not be tended are tended again
_HEADERS_OF_SERVER = frozenset({b"content-length", b"transfer-encoding", b"connection"})

log = structlog.get_logger()


class SimulatorServer:
    """Serves one marketplace until closed; looks after the machines that stand behind it."""

    def __init__(self, market: Marketplace[Any]) -> None:
        self.market = market
        self.url = ""
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._caretaker: asyncio.Task[None] | None = None

    async def start(self, bind: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the base URL. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, bind, port)
        host, actual = self._server.sockets[0].getsockname()[:2]
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{actual}"
        self._caretaker = asyncio.create_task(self._tend())
        return self.url

    async def close(self) -> None:
        """Stop listening, drop clients, clear the machines away."""
        if self._server is not None:
            self._server.close()
        tasks = [*self._clients, *([self._caretaker] if self._caretaker else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.market.close()

    async def _tend(self) -> None:
        while True:
            try:
                await self.market.premises.tend(self.market.tenancies())
            except Exception:  # without machines the marketplace would go on selling what nobody can use
                log.exception("simulator.machines_failed")
                await asyncio.sleep(_FAILED_S)
            await asyncio.sleep(_TEND_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            await _Connection(self.market, reader, writer).run()
        except (OSError, TimeoutError, h11.RemoteProtocolError, h11.LocalProtocolError, asyncio.CancelledError):
            pass  # the client's side of it failed, or the server stops; nothing here depends on it
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class _Connection:
    """One client's connection."""

    def __init__(self, market: Marketplace[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._market = market
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        peer = writer.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""

    async def run(self) -> None:
        """Serve requests until either side closes."""
        while True:
            event = await self._event()
            if not isinstance(event, h11.Request):
                return
            request = await self._request(event)
            too_long = json_response(413, {"error": "the body is too long"})
            outcome = too_long if request is None else await self._answer(request)
            if not await self._send(outcome, close=request is None):
                return
            self._http.start_next_cycle()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(_IDLE_S):
                self._http.receive_data(await self._reader.read(_READ))
        return event

    async def _request(self, head: h11.Request) -> Request | None:
        """The whole request; None when its body is too long to be read."""
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > _BODY_LIMIT:
                return None
        target = urlsplit(head.target.decode("ascii", "replace"))
        return Request(
            method=head.method.decode("ascii"),
            path=unquote(target.path),
            query=parse_qs(target.query, keep_blank_values=True),
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            body=bytes(body),
        )

    async def _answer(self, request: Request) -> Outcome:
        if request.path.startswith(PREFIX):
            return control(self._market, request)
        return await self._market.handle(request, self._client)

    async def _send(self, outcome: Outcome, *, close: bool) -> bool:
        """Send an answer, or as much as is to arrive of it; whether the connection goes on."""
        response = outcome.response if isinstance(outcome, Cut) else outcome
        if isinstance(outcome, Cut) and outcome.point is CutPoint.BEFORE:
            self._shut()
            return False
        self._write(h11.Response(status_code=response.status, headers=_headers(response, close=close)))
        if isinstance(outcome, Cut):
            self._write(h11.Data(data=response.body[: len(response.body) // 2]))
            await self._writer.drain()
            self._shut()
            return False
        self._write(h11.Data(data=response.body))
        self._write(h11.EndOfMessage())
        await self._writer.drain()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _write(self, event: Any) -> None:
        self._writer.write(self._http.send(event) or b"")

    def _shut(self) -> None:
        """End both directions at once, so that the client sees it now and not at its own deadline."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _headers(response: Response, *, close: bool) -> list[tuple[bytes, bytes]]:
    own = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers.items()]
    headers = [pair for pair in own if pair[0].lower() not in _HEADERS_OF_SERVER]
    headers += [(b"date", formatdate(usegmt=True).encode()), (b"content-length", b"%d" % len(response.body))]
    return [*headers, (b"connection", b"close")] if close else headers
