"""`vllm serve` for hosts without vLLM: the same command line in front of llama.cpp's own OpenAI-compatible
server.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

_PARALLEL = 2


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vllm")
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    serve.add_argument("model")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--api-key", default=os.environ.get("VLLM_API_KEY", ""))
    serve.add_argument("--served-model-name", nargs="+", default=[])
    serve.add_argument("--max-model-len", type=int, default=2048)
    return parser.parse_args(argv)


def main() -> None:
    """Load the weights named by GPUPLANE_WEIGHTS and serve them until a signal ends the process."""
    marker = sys.argv.index("serve")
    arguments = _arguments(sys.argv[marker:])
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = os.environ["GPUPLANE_WEIGHTS"]
    params.model_alias = set(arguments.served_model_name or [arguments.model])
    params.hostnames = [arguments.host]
    params.port = arguments.port
    params.api_keys = [arguments.api_key] if arguments.api_key else []
    params.n_parallel = _PARALLEL
    params.n_ctx = arguments.max_model_len * _PARALLEL
    params.endpoint_metrics = True
    # Threads meet at a barrier for every layer: on processors shared with other machines two of them took
    # twenty times as long as one for this small model.
    params.cpuparams.n_threads = 1
    params.cpuparams.poll = 0
    params.warmup = False
    params.ui = False
    params.cache_ram_mib = 0  # the machine's memory is bounded; its prompt cache may not grow past that
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(f"serving at {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)
