"""Key pairs made in processes of their own. Small keys: what is tried here does not depend on their size."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controlplane.adapters import key_pairs
from controlplane.adapters.key_pairs import RsaKeyPairs
from controlplane.adapters.ssh_keys import AsyncsshKeyParser
from controlplane.domain.errors import Unavailable
from controlplane.ports.key_pairs import KeyPair, NoKeyPairs

BITS = 2048


@contextlib.asynccontextmanager
async def kept(pairs: RsaKeyPairs) -> AsyncIterator[None]:
    """Its stock is kept full."""
    keeper = asyncio.create_task(pairs.run())
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def stocked(pairs: RsaKeyPairs, count: int) -> None:
    async with asyncio.timeout(30):
        while pairs.in_stock != count:
            await asyncio.sleep(0.02)


async def test_a_pair_is_pkcs1_and_its_halves_belong_together() -> None:
    pair = await RsaKeyPairs(0, BITS).take()
    assert pair.private_pem.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    private = serialization.load_pem_private_key(pair.private_pem.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == BITS
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert pair.public_line == line.decode()
    parsed = await AsyncsshKeyParser().parse(pair.public_line)
    assert parsed is not None, "or no instance could be made with it"
    assert parsed.line == pair.public_line


async def test_the_private_half_is_in_no_repr() -> None:
    assert "hidden" not in repr(KeyPair("ssh-rsa AAAA", "hidden"))


async def test_a_stock_is_kept_and_given_out_at_once() -> None:
    pairs = RsaKeyPairs(2, BITS)
    async with kept(pairs):
        await stocked(pairs, 2)
        first, second = await pairs.take(), await pairs.take()
        assert first != second
        await stocked(pairs, 2)


async def test_what_is_given_back_is_given_out_next() -> None:
    pairs = RsaKeyPairs(0, BITS)
    pair = await pairs.take()
    pairs.give_back(pair)
    assert await pairs.take() is pair


async def test_whoever_waits_takes_what_is_given_back_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, slow = RsaKeyPairs(0, BITS), asyncio.Event()

    async def make(bits: int, nice: int) -> KeyPair:
        await slow.wait()
        return KeyPair("made", "made")

    monkeypatch.setattr(key_pairs, "make", make)
    waiting = [asyncio.create_task(pairs.take()) for _ in range(key_pairs.AT_ONCE + 1)]
    await asyncio.sleep(0)
    pairs.give_back(KeyPair("back", "back"))
    slow.set()
    assert sorted(pair.public_line for pair in await asyncio.gather(*waiting)) == ["back", "made", "made"]


async def test_a_process_that_fails_is_a_refusal_to_be_tried_again() -> None:
    with pytest.raises(Unavailable) as refused:
        await RsaKeyPairs(0, bits=16).take()
    assert refused.value.retry_after_s is not None


async def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_pairs, "MAKING_S", 0.05)
    with pytest.raises(Unavailable):
        await RsaKeyPairs(0, bits=16384).take()


async def test_a_plane_that_makes_none_says_so() -> None:
    with pytest.raises(Unavailable):
        await NoKeyPairs().take()
