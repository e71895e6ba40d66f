"""A folder for sockets. The kernel takes socket paths of 107 bytes, and state folders can lie deeper."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from controlplane.edge.errors import EdgeError

SOCKET_PATH_MAX = 107
_ROOM_FOR_NAME = 24


def runtime_folder(state: Path) -> Path:
    """The same folder for the same state folder, made on demand, closed to other users.

    It is `run` in the state folder where that is short enough, else one in the temporary folder, named
    by user and state folder: the next start finds what this one left.
    """
    state = state.resolve()
    folder = state / "run"
    if len(os.fsencode(folder)) + _ROOM_FOR_NAME > SOCKET_PATH_MAX:
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"gpuplane-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    # Anyone may make folders in /tmp: one that is not ours alone would let another user answer in our place.
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise EdgeError(f"{folder} belongs to somebody else; remove it, or set another temporary folder (TMPDIR)")
    folder.chmod(0o700)
    return folder
