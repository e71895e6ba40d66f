"""The system call filter as a program; what it does is tried from inside a machine (tests/e2e)."""

from __future__ import annotations

import errno
import struct

import pytest

from controlplane.sandbox import seccomp

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
X86, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def _judge(program: bytes, number: int, arch: int, argument: int = 0) -> int:
    """Interpret the few instructions the filter is made of."""
    steps = [struct.unpack("HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    words, accumulator, at = {0: number, 4: arch, 16: argument}, 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = words[value]
        else:
            met = accumulator == value if code == 0x15 else accumulator >= value
            at += if_true if met else if_false


@pytest.mark.parametrize(
    ("machine", "arch", "number", "argument", "verdict"),
    [
        ("x86_64", X86, 0, 0, ALLOW),  # read
        ("x86_64", X86, 41, 2, ALLOW),  # socket(AF_INET)
        ("x86_64", X86, 41, 40, ERRNO | errno.EAFNOSUPPORT),  # socket(AF_VSOCK)
        ("x86_64", X86, 41, 17, ERRNO | errno.EAFNOSUPPORT),  # socket(AF_PACKET)
        ("x86_64", X86, 103, 0, ERRNO | errno.EPERM),  # syslog
        ("x86_64", X86, 425, 0, ERRNO | errno.EPERM),  # io_uring_setup
        ("x86_64", X86, 0x40000000 + 41, 40, ERRNO | errno.ENOSYS),  # x32
        ("x86_64", I386, 102, 0, ERRNO | errno.ENOSYS),  # socketcall of a 32-bit program
        ("aarch64", ARM, 198, 1, ALLOW),  # socket(AF_UNIX)
        ("aarch64", ARM, 198, 40, ERRNO | errno.EAFNOSUPPORT),
        ("aarch64", ARM, 116, 0, ERRNO | errno.EPERM),
        ("aarch64", X86, 0, 0, ERRNO | errno.ENOSYS),
    ],
)
def test_verdicts(machine: str, arch: int, number: int, argument: int, verdict: int) -> None:
    assert _judge(seccomp.program(machine), number, arch, argument) == verdict


def test_unknown_machines_have_no_filter() -> None:
    assert seccomp.program("riscv64") == b""
