#!/usr/bin/env bash
# Regenerates gen/ from proto/. With --check: lints, compares with the released API, and fails if gen/ was stale.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

# google/api protos come from the package, linked as a second buf module; no foreign .proto file is committed.
mkdir -p .deps
ln -sfn "$($bin/python -c 'import google.api, os; print(os.path.dirname(os.path.dirname(list(google.api.__path__)[0])))')" .deps/googleapis

if [ "${1:-}" = --check ]; then
  $bin/buf lint
  $bin/buf format -d --exit-code proto
  [ ! -f gen/released.binpb ] || $bin/buf breaking gen/gpuplane.binpb --against gen/released.binpb
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Ours, what they import, and the error details that the transcoder prints.
$bin/buf build --as-file-descriptor-set -o "$out/gpuplane.binpb" \
  --path proto/gpuplane --path .deps/googleapis/google/rpc/error_details.proto
mkdir -p "$out/python"
(cd proto && find gpuplane -name '*.proto' | sort) | xargs $bin/python -m grpc_tools.protoc \
  --descriptor_set_in="$out/gpuplane.binpb" --python_out="$out/python" --pyi_out="$out/python" --grpc_python_out="$out/python"
# grpc_python writes an empty module for protos without a service.
grep -L 'class .*Servicer' $(find "$out/python" -name '*_pb2_grpc.py') | xargs -r rm

if [ "${1:-}" = --check ]; then
  diff -r "$out/python" gen/python -x __pycache__ && cmp "$out/gpuplane.binpb" gen/gpuplane.binpb ||
    { echo 'gen/ is stale: run `make gen` and commit it' >&2; exit 1; }
else
  rm -rf gen/python && mv "$out/python" gen/python && mv "$out/gpuplane.binpb" gen/gpuplane.binpb
fi
