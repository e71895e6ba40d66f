"""Connections to PostgreSQL: how they are made and kept, which faults mean that one is lost, what callers are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from controlplane.domain.errors import Unavailable

log = structlog.get_logger()

CHANNEL = "gpuplane"
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0
SETTLE_S = 2.0
LISTENER_CHECK_S = 15.0
RETRY_FOR_S = 3.0
CONTENDED_ATTEMPTS = 6

SETTINGS = {
    "application_name": "gpuplane",
    # A process that is frozen between two statements must not hold row locks, or the event lock, for longer.
    "idle_in_transaction_session_timeout": "5s",
    # What waits for a lock on behalf of a dead process ends.
    "client_connection_check_interval": "2s",
    "jit": "off",
    # All that is asked often has an index. A plan that a kept connection made while a table was empty would otherwise
    # scan it until the first ANALYZE, a minute and many thousand rows later.
    "enable_seqscan": "off",
}
"""Of every session, unless the URL says otherwise."""

# Planning a batch's wide statement anew costs more than running it, and its plan is always the primary key's index.
WRITERS_SETTINGS = {"plan_cache_mode": "force_generic_plan"}

_LOST = (
    OSError,  # TimeoutError among them
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    # A demoted primary refuses writes but answers SELECT 1: it counts as lost (reference/peers.md section 3).
    asyncpg.ReadOnlySQLTransactionError,
)

CONTENDED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,  # another process made the row first: the decision sees it the next time
    asyncpg.InvalidCachedStatementError,  # another build changed the schema under our prepared statements
    asyncpg.OutdatedSchemaCacheError,
)

_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched), "the database is read-only"),
    (asyncpg.DiskFullError, "the database's disk is full"),
    (asyncpg.PostgresIOError, "the disk of the database reports errors"),
    (asyncpg.TooManyConnectionsError, "the database has no connection left"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the database refuses the role or password"),
    (asyncpg.InsufficientPrivilegeError, "the database's role lacks a right"),
    (asyncpg.InvalidCatalogNameError, "the database does not exist"),
    ((TimeoutError, asyncpg.QueryCanceledError), "the database does not answer in time"),
    (CONTENDED, "the database is busy"),
)


class OutcomeUnknown(Exception):
    """A COMMIT got no answer, and what became of it could not be looked up in time."""


def is_loss(error: BaseException) -> bool:
    """Whether the connection (or the server behind it) is of no use any more."""
    # asyncpg's complaint about a value is an InterfaceError too, and a ValueError.
    return isinstance(error, _LOST) and not isinstance(error, ValueError)


def is_units_fault(error: BaseException) -> bool:
    """Whether the error is about what was to be written, not about the database."""
    return isinstance(
        error, asyncpg.IntegrityConstraintViolationError | asyncpg.DataError | asyncpg.ProgramLimitExceededError
    ) or not (is_loss(error) or isinstance(error, asyncpg.PostgresError | asyncpg.InternalClientError | OutcomeUnknown))


def unavailable(error: BaseException) -> Unavailable:
    """What a caller may know of a database fault; the rest is in the log."""
    cause = error.__cause__ or error if isinstance(error, OutcomeUnknown) else error
    log.error("store.failed", error=f"{type(cause).__name__}: {cause}", unknown=isinstance(error, OutcomeUnknown))
    why = next((words for kinds, words in _WORDS if isinstance(cause, kinds)), "the database cannot be reached")
    if isinstance(error, OutcomeUnknown):
        return Unavailable(f"{why}; whether this was done is not known, ask again with the same request_id")
    return Unavailable(f"{why}; nothing was changed, try again")


async def connect(url: str, *, writing: bool, patience_s: float = STATEMENT_TIMEOUT_S) -> asyncpg.Connection:
    """A connection with our settings: to a primary; for writing, to one that takes writes."""
    asked = url.partition("?")[2]
    # The server gives up a little earlier, so that its word arrives and the connection stays usable.
    settings = SETTINGS | (WRITERS_SETTINGS if writing else {}) | {"statement_timeout": f"{patience_s - 1:.0f}s"}
    return await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=patience_s,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,  # a batch's are wide
        target_session_attrs="read-write" if writing else "primary",
        server_settings={name: value for name, value in settings.items() if f"{name}=" not in asked},
    )


async def retrying(call: Callable[[], Awaitable[Any]]) -> Any:
    """Call again for a while when a connection was lost or others were in the way; never after a timeout."""
    try:
        return await call()  # nearly always; the machinery below costs more than a read
    except Exception as error:
        if not _worth_repeating(error):
            raise
    async for attempt in AsyncRetrying(
        stop=_enough,
        wait=wait_random_exponential(0.02, 0.5),
        retry=retry_if_exception(_worth_repeating),
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("tenacity either returns or raises")


def _worth_repeating(error: BaseException) -> bool:
    return isinstance(error, CONTENDED) or (is_loss(error) and not isinstance(error, TimeoutError))


def _enough(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, asyncpg.UniqueViolationError):
        return state.attempt_number >= 2  # it is still there: the unit's own fault
    if isinstance(error, CONTENDED):
        return state.attempt_number >= CONTENDED_ATTEMPTS
    return (state.seconds_since_start or 0.0) >= RETRY_FOR_S


async def hang_up(database: asyncpg.Connection | None) -> None:
    """Close in good order; at once when that takes long."""
    if database is not None and not database.is_closed():
        with contextlib.suppress(Exception):
            await database.close(timeout=1.0)


class KeptConnections:
    """A few connections with their prepared statements, each lent to one caller at a time and opened when needed.

    No pool: its reset would double every read.
    """

    def __init__(self, open: Callable[[], Awaitable[asyncpg.Connection]], size: int, timeout_s: float) -> None:
        self._open = open
        self._timeout_s = timeout_s
        self._idle: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._idle.put_nowait(None)
        self._settling: set[asyncio.Task[None]] = set()
        self._closed = False

    async def fetch(self, sql: str, bound: tuple[Any, ...]) -> list[Any]:
        """The rows of one statement."""
        database = await self._take()
        try:
            if database is None or database.is_closed():
                database = None
                database = await self._open()
            rows: list[Any] = await database.fetch(sql, *bound, timeout=self._timeout_s)
        except asyncio.CancelledError:
            self._settle(database)
            raise
        except BaseException as error:
            if database is not None and is_loss(error):
                database.terminate()
            self._give(database)
            raise
        self._give(database)
        return rows

    async def _take(self) -> asyncpg.Connection | None:
        if not self._idle.empty():
            return self._idle.get_nowait()
        async with asyncio.timeout(self._timeout_s):
            return await self._idle.get()

    def _give(self, database: asyncpg.Connection | None) -> None:
        if database is not None and (self._closed or database.is_closed()):
            database.terminate()
            database = None
        self._idle.put_nowait(database)

    def _settle(self, database: asyncpg.Connection | None) -> None:
        """The caller went away: asyncpg is cancelling the statement. Wait for that, so that a wave of cancelled calls
        on a busy database does not become a wave of new connections."""
        if database is None or database.is_closed():
            self._give(None)
            return
        task = asyncio.create_task(self._settled(database), name="store-settle")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settled(self, database: asyncpg.Connection) -> None:
        try:
            async with asyncio.timeout(SETTLE_S):
                await database.fetchval("SELECT 1")
        except BaseException:
            database.terminate()
            raise
        finally:
            self._give(database)

    async def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        if self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)
        for _ in range(self._idle.qsize()):
            await hang_up(self._idle.get_nowait())


class Listener:
    """Passes on the wake-ups of other processes, for ever; a lost connection costs a poll or two."""

    def __init__(
        self, open: Callable[[], Awaitable[asyncpg.Connection]], woken: Callable[[], None], ours: Callable[[], int]
    ) -> None:
        self._open = open
        self._woken = woken
        self._ours = ours
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="store-listener")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                log.warning("store.listener_lost", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(1.0)

    async def _listen(self) -> None:
        database = await self._open()
        gone = asyncio.Event()
        database.add_termination_listener(lambda *_: gone.set())
        try:
            await database.add_listener(CHANNEL, self._heard)
            self._woken()  # for what was missed meanwhile
            while not gone.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTENER_CHECK_S):
                        await gone.wait()
                        return
                await database.fetchval("SELECT 1")  # a silent network shows here
        finally:
            database.terminate()

    def _heard(self, _: Any, pid: int, *__: Any) -> None:
        if pid != self._ours():
            self._woken()
