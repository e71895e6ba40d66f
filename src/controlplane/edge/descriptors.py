"""The descriptor image as Envoy needs it."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet


def strip_comments(source: Path, target: Path) -> Path:
    """Write the image without comments and positions; returns the target."""
    image = FileDescriptorSet.FromString(source.read_bytes())
    for file in image.file:
        file.ClearField("source_code_info")
    target.write_bytes(image.SerializeToString())
    return target
