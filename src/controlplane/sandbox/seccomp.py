"""A system call filter for what namespaces do not separate: kernel log, key rings, hypervisor sockets."""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF on 32-bit words
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT = 0x40000000
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK belong to the machine's own network namespace. AF_VSOCK does not: it
# reaches the hypervisor below the host.
_FAMILIES = (1, 2, 10, 16)


@dataclass(frozen=True, slots=True)
class _Machine:
    arch: int
    socket: int
    # syslog, add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, open_by_handle_at, io_uring_*
    # (which would make sockets without `socket`)
    denied: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, (103, 248, 249, 250, 321, 298, 323, 304, 425, 426, 427)),
    "aarch64": _Machine(0xC00000B7, 198, (116, 217, 218, 219, 280, 241, 282, 265, 425, 426, 427)),
}


def program(machine: str = platform.machine()) -> bytes:
    """The filter for bwrap's --seccomp; empty on a machine we have no numbers for."""
    known = _MACHINES.get(machine)
    if known is None:
        return b""
    # The same numbers mean other calls to 32-bit programs, so those are refused altogether.
    steps = [_step(_LOAD, _ARCH), _step(_IF_EQUAL, known.arch, 1, 0), _refuse(errno.ENOSYS)]
    steps += [_step(_LOAD, _NR), _step(_IF_AT_LEAST, _X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    for number in known.denied:
        steps += [_step(_IF_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    steps += [_step(_IF_EQUAL, known.socket, 1, 0), _step(_RETURN, _ALLOW), _step(_LOAD, _FIRST_ARGUMENT)]
    for family in _FAMILIES:
        steps += [_step(_IF_EQUAL, family, 0, 1), _step(_RETURN, _ALLOW)]
    return b"".join([*steps, _refuse(errno.EAFNOSUPPORT)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)
