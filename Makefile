# Every command of the project; nothing is hidden behind another tool.
PY      := .venv/bin/python
EXTRAS  := dev,postgres,local-llm

.PHONY: setup demo up test campaign faults live bench bench-peers chaos scale lint gen release

setup: .stamps/setup ## venv, package, Envoy, sandbox tool; a second run skips what is there

.stamps/setup: pyproject.toml scripts/setup.sh
	scripts/setup.sh "$(EXTRAS)"
	@mkdir -p .stamps && touch $@

demo: setup ## rent a machine on this host and show everything
	$(PY) -m controlplane demo

up: setup ## run the plane in the foreground
	.venv/bin/gpuplane up

# In the order of their names: xdist would begin with the files of many short tests and end in one that mostly waits.
test: setup ## everything that must hold, within ten minutes on two cores
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow and not scale' tests
	$(MAKE) --no-print-directory lint

campaign: setup .fidelity/venv/bin/vastai ## the long runs
	$(PY) -m tests.simulation --seeds 10000
	$(PY) -m tests.simulation --seeds 500 --sqlite
	$(PY) -m pytest -q -m slow tests
	$(MAKE) --no-print-directory faults

faults: setup ## thousands of rentals on three simulated marketplaces that misbehave, with kill -9
	$(PY) -m tests.faults virtual --rentals 5000
	$(PY) -m tests.faults real --rentals 300

.fidelity/venv/bin/vastai: tests/fidelity/requirements.txt
	python3 -m venv .fidelity/venv && .fidelity/venv/bin/pip install -q -r tests/fidelity/requirements.txt
	@touch $@

live: setup ## look at a real marketplace: PROVIDER=vastai and its key; RENT=1 also rents the cheapest for a minute
	$(PY) -m tests.live $(PROVIDER)

chaos: setup ## kill -9 and freeze real planes under load
	$(PY) -m tests.chaos --kills 50 --database sqlite
	$(PY) -m tests.chaos --kills 50 --database postgresql --processes 2
	$(PY) -m tests.chaos --stops 25 --database postgresql --processes 2

scale: setup ## thousands of streams, hundreds of thousands of rows
	$(PY) -m pytest -q -s -m scale tests/scale

bench: setup .bench/venv/bin/py-spy ## what docs/performance.md shows; needs apt's nghttp2-client, Go, and etcd-server to compare
	$(PY) -W ignore -m bench

bench-peers: setup .bench/venv/bin/py-spy ## dstack on the same work, installed into .bench
	$(PY) -W ignore -m bench peers

.bench/venv/bin/py-spy: bench/requirements.txt
	python3 -m venv .bench/venv && .bench/venv/bin/pip install -q -r bench/requirements.txt

lint: setup ## style, types, arrows, protos, generated code
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/mypy
	PYTHONPATH=src:gen/python .venv/bin/lint-imports --no-logo
	scripts/gen.sh --check

gen: setup ## descriptor image and generated Python from proto/
	scripts/gen.sh

release: gen ## freeze the published API: what `buf breaking` compares with
	cp gen/gpuplane.binpb gen/released.binpb
