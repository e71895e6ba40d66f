"""RSA key pairs of 4096 bits, each made in a process of its own.

Such a key takes a core for seconds, and the library holds the interpreter's lock meanwhile: in a thread it would stop
every call. So this module is also a program that prints one key and ends; `run` keeps a few in stock, made at the
lowest priority, so that callers rarely wait for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controlplane.domain.errors import Unavailable
from controlplane.ports.key_pairs import KeyPair

BITS = 4096
MAKING_S = 45.0
"""The longest that a caller waits for a key: ten times what a busy host takes for one."""
AT_ONCE = 2
"""Keys made at the same time for callers who wait; the rest of them queue."""
RETRY_S = 5.0
_LOW, _LOWEST = 5, 19  # nice values: nobody's call waits for a key's arithmetic, but whoever asked for it does

log = structlog.get_logger()


class RsaKeyPairs:
    """A stock of key pairs, in memory only. Without `run`, or once the stock is empty, callers wait for theirs."""

    def __init__(self, stock: int, bits: int = BITS) -> None:
        self._target = stock
        self._bits = bits
        self._stock: deque[KeyPair] = deque()
        self._taken = asyncio.Event()
        self._making = asyncio.Semaphore(AT_ONCE)

    @property
    def in_stock(self) -> int:
        """Pairs that can be taken at once."""
        return len(self._stock)

    async def take(self) -> KeyPair:
        """See `KeyPairs.take`."""
        if self._stock:
            self._taken.set()
            return self._stock.popleft()
        try:
            async with asyncio.timeout(MAKING_S), self._making:
                if self._stock:  # somebody gave one back while we queued
                    return self._stock.popleft()
                return await make(self._bits, _LOW)
        except TimeoutError:
            raise _unavailable() from None

    def give_back(self, pair: KeyPair) -> None:
        """See `KeyPairs.give_back`."""
        self._stock.appendleft(pair)

    async def run(self) -> None:
        """Keep the stock full, one key after the other, until cancelled."""
        while True:
            while len(self._stock) < self._target:
                try:
                    self._stock.append(await make(self._bits, _LOWEST))
                except Unavailable as error:
                    log.warning("key_pairs.not_made", error=error.message)
                    await asyncio.sleep(RETRY_S)
            self._taken.clear()
            await self._taken.wait()


async def make(bits: int, nice: int) -> KeyPair:
    """One new pair, made at that priority. Raises Unavailable when the process fails or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(bits), str(nice),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        log.warning("key_pairs.no_process", error=str(error))
        raise _unavailable() from None
    try:
        async with asyncio.timeout(MAKING_S):
            printed, _ = await process.communicate()
    except TimeoutError:
        raise _unavailable() from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    line, _, pem = printed.decode().partition("\n")
    if process.returncode != 0 or not pem:
        raise _unavailable()
    return KeyPair(line, pem)


def _unavailable() -> Unavailable:
    return Unavailable("no key pair could be made; try again", reason="INTERNAL", retry_after_s=RETRY_S)


def main(bits: int, nice: int) -> None:
    """Print one pair: the public line, then the private PEM."""
    os.nice(nice)
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    sys.stdout.write(public.decode() + "\n" + private.decode())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
