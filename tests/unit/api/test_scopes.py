"""The table of scopes against the image that every client and Envoy read."""

import re
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from controlplane.api.scopes import CANONICAL_SERVICES, OPERATOR, PUBLIC, canonical_scopes
from controlplane.domain.principal import SCOPES

IMAGE = Path(__file__).parents[3] / "gen" / "gpuplane.binpb"


def documented():
    """Method path -> comment of its service and comment of its own."""
    image = FileDescriptorSet.FromString(IMAGE.read_bytes())
    for file in image.file:
        if file.package != "gpuplane.v1":
            continue
        comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                path = f"/gpuplane.v1.{service.name}/{method.name}"
                yield path, comments.get((6, s), ""), comments.get((6, s, 2, m), "")


def test_every_rpc_is_listed_and_nothing_else():
    assert set(canonical_scopes()) == {path for path, _, _ in documented()}
    assert set(CANONICAL_SERVICES) == {path[1:].partition("/")[0] for path, _, _ in documented()}


def test_every_scope_exists():
    assert set(canonical_scopes().values()) <= {*SCOPES, PUBLIC, OPERATOR}


def test_the_comments_say_the_same():
    wrong = {}
    for path, of_service, of_method in documented():
        said = re.search(r"Scope:\s+`([a-z:]+)`", of_method) or re.search(r"Scope:\s+`([a-z:]+)`", of_service)
        if said:
            expected = said[1]
        elif "needs an operator key" in of_service + of_method and "need no key" not in of_method:
            expected = OPERATOR
        else:
            expected = PUBLIC
            assert path.rpartition("/")[2] in of_service, f"{path} is public and its service does not say so"
        if canonical_scopes()[path] != expected:
            wrong[path] = expected
    assert wrong == {}


def test_metrics_can_be_public():
    path = "/gpuplane.v1.System/GetMetrics"
    assert canonical_scopes()[path] == OPERATOR
    assert canonical_scopes(public_metrics=True)[path] == PUBLIC
