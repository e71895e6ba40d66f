"""A real `gpuplane up` for tests: its process, its clients, its bad days, and proof that nothing of it is left.

    with running_plane(local_simulated=True) as plane:     # settings by keyword, as GPUPLANE_* variables
        instance = plane.rent(name="a")                    # through the account of credentials.json
        plane.kill9()                                      # machines and Envoy live on
        plane.restart()
        plane.me.instances.GetInstance(pb.GetInstanceRequest(id=instance.id))

`plane.me`, `plane.operator` and `plane.caller(key)` are Callers: raw stubs that send one key, without retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import grpc
import psutil
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from gpuplane.v1 import (
    account_service_pb2,
    budget_service_pb2,
    instance_pb2,
    instance_service_pb2,
    key_pb2,
    key_service_pb2,
    offer_pb2,
    offer_service_pb2,
    operation_pb2,
    operation_service_pb2,
    system_service_pb2,
    usage_service_pb2,
    watch_pb2,
)
from gpuplane_client.services import Services

from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.adapters.system import SystemClock
from controlplane.sandbox import names, processes
from controlplane.sandbox.cgroups import PARENT

pb = SimpleNamespace(
    **{
        name: getattr(module, name)
        for module in (
            account_service_pb2, budget_service_pb2, instance_pb2, instance_service_pb2, key_pb2, key_service_pb2,
            offer_pb2, offer_service_pb2, operation_pb2, operation_service_pb2, system_service_pb2, usage_service_pb2,
            watch_pb2,
        )
        for name in (*module.DESCRIPTOR.message_types_by_name, *_enum_values(module))
    }
) if False else SimpleNamespace()  # fmt: skip
