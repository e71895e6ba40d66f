"""Loop devices that hold machines' disk images."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

_LOOP_GET_STATUS64 = 0x4C05
_INFO_SIZE = 232


def loop_devices(image: Path) -> list[str]:
    """Loop devices bound to an image. Compared by inode: paths differ between mount namespaces."""
    try:
        facts = image.stat()
    except OSError:
        return []
    found = []
    for entry in Path("/sys/block").glob("loop*/loop"):
        device = f"/dev/{entry.parent.name}"
        with contextlib.suppress(OSError):
            fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                info = fcntl.ioctl(fd, _LOOP_GET_STATUS64, b"\0" * _INFO_SIZE)
            finally:
                os.close(fd)
            lo_device, lo_inode = struct.unpack_from("QQ", info)
            if lo_inode == facts.st_ino and lo_device in (facts.st_dev, _kernel_device(facts.st_dev)):
                found.append(device)
    return found


def _kernel_device(device: int) -> int:
    """The kernel reports device numbers in its own encoding (see new_encode_dev), which glibc widens."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
