# The verbs of this repository. Each one makes .venv by itself when it is missing.
PYTHON ?= python3
BIN := .venv/bin
PROTO := proto/inlay_proto/generate.proto
export PYTHONSAFEPATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install serve test check format stubs evaluate bench clean

help: ## say what each verb does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## make .venv and install inlay into it

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# The text_generation client wants an older huggingface_hub than transformers does.
.venv-tgi-client/installed:
	$(PYTHON) -m venv .venv-tgi-client
	.venv-tgi-client/bin/pip install --quiet "text_generation==0.7.0"
	@touch $@

serve: .venv/installed ## serve the embedded model on 127.0.0.1:3000 (ARGS="…" is passed on)
	$(BIN)/inlay serve $(ARGS)

test: .venv/installed .venv-tgi-client/installed ## run every test (ARGS="…" is passed to pytest)
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

evaluate: .venv/installed ## ask the embedded model about scenes that it never saw
	$(BIN)/python -m inlay_training.evaluate $(ARGS)

bench: .venv/installed ## measure inlay against transformers, side by side
	PYTHONPATH=bench $(BIN)/python -m inlay_bench $(ARGS)

clean: ## remove what the verbs made
	rm -rf .venv .venv-tgi-client .bench
