"""Secrets of one machine: derived from the master key, so that they need no storage and survive every crash."""

from __future__ import annotations

from controlplane.ports.secrets import Secrets


def model_key(secrets: Secrets, instance_id: str) -> str:
    """The bearer that an instance's model server requires."""
    return "gpm_" + secrets.derive("model", instance_id).hex()


def jupyter_token(secrets: Secrets, instance_id: str) -> str:
    """The token that an instance's Jupyter server requires."""
    return secrets.derive("jupyter", instance_id).hex()


def probe_seed(secrets: Secrets, instance_id: str) -> bytes:
    """The ed25519 seed of the key with which the control plane sees whether the machine is usable."""
    return secrets.derive("probe", instance_id)
