"""Buying on Vast.ai: the body of the request, and what its answer means."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
from collections.abc import Mapping
from typing import Any

from controlplane.adapters.providers.http import Answer, classify, outcomes, values
from controlplane.adapters.providers.http.keys import authorized_lines
from controlplane.adapters.providers.vastai import serving, wire
from controlplane.adapters.providers.vastai.settings import VastaiSettings
from controlplane.domain.instance import Wish
from controlplane.domain.money import NANO
from controlplane.domain.template import Template
from controlplane.ports.provider import (
    AuthFailed,
    Created,
    CreatedButUnusable,
    LaunchMode,
    LaunchOutcome,
    LaunchSpec,
    NoFunds,
    RateLimited,
    Rejected,
    Stockout,
)

LEAST_DISK_GB = 8
MOST_ON_START = 4096  # characters of the start script, as sent
PENALTY_S = 12.0  # of a refused create that names no time

_MOST_PORTS = 64
_MOST_IMAGE, _MOST_LABEL = 1024, 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RUNTYPE = "ssh_direc ssh_proxy"  # as the vendor's own client spells "SSH, directly and by proxy"


def disk_gb(spec: LaunchSpec, settings: VastaiSettings) -> int:
    """The disk that is bought; it cannot be changed later."""
    return max(LEAST_DISK_GB, spec.disk_gb or settings.disk_gb)


def refusal(wish: Wish | LaunchSpec, settings: VastaiSettings) -> str:
    """Why no machine of Vast.ai can be what is asked for; empty if one can."""
    if wish.mode == LaunchMode.JUPYTER:
        return "machines on Vast.ai are rented with SSH or to serve, not with Jupyter"
    if wish.mode == LaunchMode.MODEL:
        # What image a template has is known only once the vendor was asked.
        image = wish.image or ("" if wish.template else settings.model_image)
        if why := serving.refusal(wish, image):
            return why
    if len(wish.image) > _MOST_IMAGE:
        return f"Vast.ai takes images of up to {_MOST_IMAGE} characters"
    if len(wish.ports) > _MOST_PORTS:
        return f"Vast.ai opens at most {_MOST_PORTS} ports"
    odd = next((name for name in wish.env if not _NAME.match(name)), None)
    if odd is not None:  # anything else would be read as an option of the container engine
        return "an environment variable's name must be of letters, digits and underscores"
    return ""


def mistake(spec: LaunchSpec, settings: VastaiSettings) -> str:
    """Why this launch cannot be; empty if it can."""
    if why := refusal(spec, settings):
        return why
    if len(spec.label) > _MOST_LABEL:
        return f"Vast.ai takes labels of up to {_MOST_LABEL} characters"
    if any(line.count("\n") for line in (*spec.authorized_keys, spec.probe_key)):
        return "an authorized key is not one line"
    return ""


def on_start_script(spec: LaunchSpec, on_start: str) -> str | None:
    """What the machine runs at its start: it installs the keys, then runs the caller's command. None if that is too
    long even compressed."""
    lines = authorized_lines(spec.authorized_keys, spec.probe_key)
    script = "\n".join((
        "umask 077; mkdir -p /root/.ssh; f=/root/.ssh/authorized_keys; touch $f",
        *(f"grep -qxF -e {shlex.quote(line)} $f || printf '%s\\n' {shlex.quote(line)} >>$f" for line in lines),
        "umask 022",
        on_start,
    ))  # fmt: skip
    if len(script) <= MOST_ON_START:
        return script
    packed = base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
    script = f"echo {packed}|base64 -d|gunzip>/root/.onstart.sh; bash /root/.onstart.sh"
    return script if len(script) <= MOST_ON_START else None


def container(spec: LaunchSpec, settings: VastaiSettings, template: Template | None) -> dict[str, Any] | Rejected:
    """What the container is and runs, as the request says it. The template, where its vendor names it, fills what the
    launch leaves open."""
    return (_served if spec.mode is LaunchMode.MODEL else _entered)(spec, settings, template)


def _served(spec: LaunchSpec, settings: VastaiSettings, template: Template | None) -> dict[str, Any] | Rejected:
    """One that runs its image's own entrypoint."""
    image = spec.image or (template.image if template is not None else settings.model_image)
    if why := serving.refusal(spec, image):
        return Rejected(why)
    env = {**spec.env, **serving.environment(spec), **_opened(serving.ports(spec))}
    words = serving.arguments(spec, image)  # left out where there are none, as the vendor's own client does
    return {"runtype": serving.RUNTYPE, "image": image, "env": env} | ({"args": words} if words else {})


def _entered(spec: LaunchSpec, settings: VastaiSettings, template: Template | None) -> dict[str, Any] | Rejected:
    """One that is entered by SSH."""
    script = on_start_script(spec, spec.on_start or (template.on_start if template is not None else ""))
    if script is None:
        return Rejected(f"the start command and the keys are longer than {MOST_ON_START} characters, even compressed")
    image = {"image": spec.image or settings.image} if spec.image or not spec.template else {}
    return {"runtype": _RUNTYPE, "onstart": script, "env": {**spec.env, **_opened(spec.ports)}, **image}


def _opened(ports: tuple[int, ...]) -> dict[str, str]:
    """Ports are keys of `env`."""
    return {f"-p {port}:{port}": "1" for port in ports}


def body(spec: LaunchSpec, settings: VastaiSettings, runs: Mapping[str, Any], bid_nano: int | None) -> dict[str, Any]:
    """The request; `runs` is what `container` says. Without a price the machine is on demand."""
    request: dict[str, Any] = {
        "client_id": "me", "label": spec.label, "disk": disk_gb(spec, settings), "target_state": "running",
        # Said always, for its default differs: else an offer that is gone leaves a stopped machine behind.
        "cancel_unavail": True, **runs,
    }  # fmt: skip
    if spec.template:
        request["template_hash_id"] = spec.template
    if bid_nano is not None:
        request["price"] = round(bid_nano / NANO, 6)
    return request


def outcome(answer: Answer, price_nano_per_hour: int) -> LaunchOutcome:
    """What became of a purchase at that price. The body is believed before the status."""
    told = answer.value if answer.is_json and isinstance(answer.value, dict) else {}
    contract = values.natural(told.get("new_contract"), 10**15)
    if contract:
        if told.get("success") is False:
            return CreatedButUnusable(str(contract), answer.reason or "it was made stopped: the bid was too low")
        return Created(str(contract), created_at=answer.sent_at, price_nano_per_hour=price_nano_per_hour)
    if wire.is_auth(answer):
        return AuthFailed("the API key was refused")
    if answer.status == 403 and answer.is_json and answer.says(*classify.FUNDS_WORDS):
        return NoFunds(answer.reason)
    if answer.says("no_such_ask"):
        return Stockout("the offer was taken")
    if answer.status == 429 and answer.retry_after_s is None:
        return RateLimited(PENALTY_S)
    return outcomes.refused(answer, answer.status, ())
