"""The guard of user-given addresses: a table of what is never called, and proof that the judged address is dialled."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from controlplane.adapters.outbound import AddressGuard
from controlplane.adapters.webhook_sender import HttpWebhookSender

PUBLIC = "93.184.215.14"
REFUSED_ALWAYS = [
    "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "192.0.0.192", "168.63.129.16",
    "100.100.100.200", "::", "fe80::1", "ff02::1", "fec0::1", "2001:db8::1", "2002:7f00:1::", "2001:0:1::1",
    "64:ff9b::7f00:1", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "100::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3",
]  # fmt: skip
ALLOWED = [PUBLIC, "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]


def guard(*addresses: str, private: bool = False) -> AddressGuard:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return AddressGuard(private, resolve)


@pytest.mark.parametrize("address", REFUSED_ALWAYS)
async def test_addresses_that_are_never_called(address: str) -> None:
    for private in (False, True):
        assert await guard(address, private=private).refusal("https://a.example/")
    assert await guard(PUBLIC, address).refusal("https://a.example/"), "one bad address among good ones"


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_addresses_need_the_setting(address: str) -> None:
    assert "private" in await guard(address).refusal("https://a.example/")
    for scheme in ("http", "https"):
        assert await guard(address, private=True).refusal(f"{scheme}://a.example/") == ""


@pytest.mark.parametrize("address", ALLOWED)
async def test_public_addresses_by_https_only(address: str) -> None:
    for private in (False, True):
        assert await guard(address, private=private).refusal("https://a.example:8443/x?y=z") == ""
        assert "https" in await guard(address, private=private).refusal("http://a.example/")


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "ftp://a.example/", "file:///etc/passwd", "https://", "https:///x", "https://user@a.example/",
        "https://a:b@a.example/", "https://@a.example/", "https://a.example:99999/", "https://a.example:0/",
        "https://a.example:x/", "https://a b/", "https://a.example/\r\nX: y", "https://a.example/\t", "https://ü.example/",
        "https://a.example\\@b/", "https://[::1", "https://[fe80::1%25eth0]/", "https://a%2eexample/", "javascript:1",
    ],
)  # fmt: skip
async def test_urls_that_are_none(url: str) -> None:
    assert await guard(PUBLIC, private=True).refusal(url)


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "127.0.0.1.",
     "127.1.", "2130706433.", "localhost."],
)  # fmt: skip
async def test_spellings_of_loopback_are_seen_through(host: str) -> None:
    assert "loopback" in await AddressGuard().refusal(f"https://{host}/")


async def test_a_trailing_dot_changes_nothing() -> None:
    for host in ("hook.example", "hook.example."):
        target = await guard(PUBLIC).target(f"https://{host}:8443/")
        assert (target.host, target.authority, target.address) == ("hook.example", "hook.example:8443", PUBLIC)
    for host in (".", "..", "127.0.0.1..", "localhost.."):
        assert await AddressGuard().refusal(f"https://{host}/") == "must name a host"


@pytest.mark.parametrize("url", ["https://8.8.8.8/#frag", "https://8.8.8.8/#", "https://8.8.8.8#/x?y"])
async def test_a_fragment_is_refused_where_an_endpoint_is_made(url: str) -> None:
    """It would never be sent. Those that exist already are still called."""
    assert await guard("8.8.8.8").refusal(url) == "must not hold a fragment"
    assert (await guard("8.8.8.8").target(url)).path == "/"


async def test_a_name_that_does_not_resolve_is_accepted_and_not_called() -> None:
    assert await AddressGuard().refusal("https://nobody.invalid/") == ""
    sender = HttpWebhookSender(AddressGuard())
    answer = await sender.send("https://nobody.invalid/", [], b"")
    await sender.close()
    assert (answer.status, bool(answer.error)) == (0, True)


@contextlib.asynccontextmanager
async def receiver(
    answer: bytes, heard: list[bytes], *, hold_s: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head)
            writer.write(answer)
            await writer.drain()
            await asyncio.sleep(hold_s)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_judged_address_is_dialled_under_the_name() -> None:
    """The name is asked once: one that changes afterwards (DNS rebinding) changes nothing."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    heard: list[bytes] = []
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n", heard) as port:
        sender = HttpWebhookSender(AddressGuard(True, resolve))
        answer = await sender.send(f"http://hook.example:{port}/a/b?c=d#frag", [("X-One", "1")], b"{}")
        await sender.close()
    assert (answer.status, asked) == (204, ["hook.example"])
    head = heard[0].decode()
    assert head.startswith("POST /a/b?c=d HTTP/1.1\r\n")
    assert f"Host: hook.example:{port}\r\n" in head
    assert "X-One: 1\r\n" in head


async def test_redirects_are_not_followed_and_endless_answers_not_read() -> None:
    heard: list[bytes] = []
    sender = HttpWebhookSender(AddressGuard(True), timeout_s=2.0)
    async with receiver(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", heard
    ) as port:
        assert (await sender.send(f"http://127.0.0.1:{port}/", [], b"")).status == 302
    async with receiver(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000, heard, hold_s=9
    ) as port:
        async with asyncio.timeout(1):
            assert (await sender.send(f"http://127.0.0.1:{port}/", [], b"")).status == 200
    assert len(heard) == 2
    await sender.close()


async def test_stalls_and_nonsense_are_failures_in_words() -> None:
    sender = HttpWebhookSender(AddressGuard(True), timeout_s=0.3)
    async with receiver(b"", [], hold_s=5) as port:
        assert (await sender.send(f"http://127.0.0.1:{port}/", [], b"")).error == "no answer within 0.3 s"
    async with receiver(b"hello\r\n\r\n", []) as port:
        answer = await sender.send(f"http://127.0.0.1:{port}/", [], b"")
        assert (answer.status, answer.error) == (0, "the answer was broken off or is not HTTP")
    answer = await sender.send(f"http://127.0.0.1:{port}/", [], b"")
    assert (answer.status, answer.error) == (0, "the connection was refused")
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12", [], hold_s=5) as port:
        assert (await sender.send(f"http://127.0.0.1:{port}/", [], b"")).status == 200, "the status counts"
    await sender.close()


def _certificate(name: str, folder: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


async def test_the_certificate_must_be_the_names_not_the_addresss(tmp_path: Path) -> None:
    file = _certificate("hook.example", tmp_path)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(file)
    asked: list[str | None] = []
    ours.sni_callback = lambda connection, name, context: asked.append(name)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    heard: list[bytes] = []
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n", heard, tls=ours) as port:
        trusting = HttpWebhookSender(AddressGuard(True, resolve), trusted=ssl.create_default_context(cafile=str(file)))
        assert (await trusting.send(f"https://hook.example:{port}/", [], b"")).status == 204
        wrong = await trusting.send(f"https://other.example:{port}/", [], b"")
        assert (wrong.status, wrong.error) == (0, "the TLS handshake failed")
        await trusting.close()
        usual = HttpWebhookSender(AddressGuard(True, resolve))
        assert (await usual.send(f"https://hook.example:{port}/", [], b"")).error == "the TLS handshake failed"
        await usual.close()
    assert asked == ["hook.example", "other.example", "hook.example"]
    assert len(heard) == 1
