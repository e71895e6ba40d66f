"""GPU.ai: a client generated from the seed's document rents a machine of the local provider, without a change by
hand."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from controlplane.api.dialects import gpuai
from controlplane.api.dialects.gpuai import GPUAI
from tests.dialects.conftest import key_of, ways
from tests.support.plane import Plane, eventually

pytestmark = pytest.mark.slow

GENERATOR = Path(sys.executable).with_name("openapi-generator-cli")
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The generated package."""
    assert shutil.which("java"), "needs a JDK: apt-get install default-jre-headless"
    document = resources.files(gpuai).joinpath("openapi.json")
    argv = [
        str(GENERATOR), "generate", "--generator-name", "python", "--package-name", "gpuai_client",
        "--input-spec", str(document), "--output", str(tmp_path),
        # The document calls itself 3.1 and says `nullable`, a word of 3.0 that the generator then does not know:
        # without this, no page could end with its documented null.
        "--openapi-normalizer", "SET_PRIMITIVE_TYPES_TO_NULLABLE=string",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("gpuai_client")


def test_a_client_generated_from_the_document(plane: Plane, client: Any) -> None:
    configuration = client.Configuration(
        host=f"http://{ways(plane, GPUAI)[0].target}/v1", access_token=key_of(plane, GPUAI)
    )
    with client.ApiClient(configuration) as connection:
        api = client.DefaultApi(connection)
        assert api.health_get().status == "ok"
        assert "cpu" in [one.gpu_type for one in api.gpu_types_get(limit=200).data]
        assert [one.region for one in api.pricing_get().data if one.gpu_type == "cpu"] == ["local"]

        ssh_key = api.ssh_keys_post(
            ssh_keys_post_request=client.SshKeysPostRequest(name=uuid.uuid4().hex, public_key=SSH_KEY)
        )
        wish = client.InstancesPostRequest(
            gpu_type="cpu", gpu_count=1, tier="on_demand", name="generated", ssh_key_ids=[ssh_key.id]
        )
        key = uuid.uuid4().hex
        accepted = api.instances_post_with_http_info(wish, idempotency_key=key)
        operation = accepted.data
        assert accepted.status_code == 202
        assert isinstance(operation, client.Operation)
        assert accepted.headers["Operation-Id"] == str(operation.operation_id)
        assert api.instances_post(wish, idempotency_key=key) == operation

        eventually(lambda: api.operations_id_get(operation.operation_id).state == "succeeded", 30)
        instance = api.instances_id_get(operation.resource_id)
        assert isinstance(instance, client.Instance)
        assert instance.status == "running"
        assert isinstance(instance.ready_at, datetime)
        assert isinstance(instance.connection, client.InstanceConnection)
        assert instance.id in [one.id for one in api.instances_get(limit=200).data]

        renamed = api.instances_id_patch(
            instance.id, instances_id_patch_request=client.InstancesIdPatchRequest(name="renamed")
        )
        assert renamed.name == "renamed"

        ending = api.instances_id_delete(instance.id)
        assert ending.kind == "instance.delete"
        eventually(lambda: api.operations_id_get(ending.operation_id).state == "succeeded", 30)
        with pytest.raises(client.exceptions.NotFoundException) as gone:
            api.instances_id_delete(instance.id)
        assert gone.value.data.code == "not_found"  # a typed Problem
        assert api.instances_id_get(instance.id).status == "terminated"

        now = datetime.now(UTC)
        usage = api.usage_get(bucket="hour", group_by="instance_id", start=now - timedelta(days=1), end=now)
        assert all(isinstance(one.gpu_seconds, int) for one in usage.data)

        hook = api.webhook_endpoints_post(
            webhook_endpoints_post_request=client.WebhookEndpointsPostRequest(
                url="https://hooks.invalid/", event_types=["instance.failed"]
            )
        )
        assert api.webhook_endpoints_id_get(hook.id).secret is None
        api.webhook_endpoints_id_delete(hook.id)
        api.ssh_keys_id_delete(ssh_key.id)
