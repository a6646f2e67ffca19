# make demo   train a keyword spotter, export it, prove it, quantize it, stream it on the engine, measure it
# make test   lint and test
# make lint   ruff and mypy alone
# make fuzz   export and prove 400 random networks (slow)
# make fuzz-engine   libFuzzer on the engine, FUZZ_SECONDS long (default 1500), with what it finds in build/fuzz
# make system-tools  install what the tests compile, emulate and serve with (Debian; as root)
# make wheels the devices' wheels for every platform, in dist, and their tests
# make emulated-python   those for Arm in Debian's Python on emulated CPUs (27 MB a CPU to download; minutes)
# make int8   measure again what int8 costs: benchmarks/int8_*.md (slow)
# make tflite measure again what benchmarks/tflite.md and litert_step.md say, beside litert-torch (2 GB more, slow)
# make pictures   draw docs/pictures again, from what the keyword spotter does on this machine
# make applications  train and measure the examples that changed, and write docs/applications.md (slow)
# make docs   measure again what docs/why-not-torch-onnx-export.md says (slow)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LINKS := build/links/edgernn
ENGINE := CMakeLists.txt $(shell find runtime/engine runtime/extension -name '*.[ch]' -o -name CMakeLists.txt)

FUZZ_SECONDS ?= 1500
SANITIZE := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer -g
TOOLS := build-essential cmake ninja-build clang lld llvm libclang-rt-dev qemu-user libsimde-dev openssh-client openssh-server qemu-system-arm gcc-arm-none-eabi \
	libnewlib-arm-none-eabi nodejs chromium adb

APPLICATIONS := text_generation text_generation-stdlib translation sentiment forecast anomaly heartbeats activity gestures keyword_detector \
	speech_enhancement gradients
ROWS := $(APPLICATIONS:%=build/applications/%.json)

.PHONY: demo test lint fuzz fuzz-engine system-tools wheels emulated-python int8 tflite support applications docs pictures clean

demo: $(VENV)/installed
	$(BIN)/python examples/keyword_spotting.py demo --out build/demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=20

lint: $(VENV)/installed $(LINKS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/installed
	EDGERNN_RANDOM_NETWORKS=400 $(BIN)/python -m pytest -q -n 2 tests/test_random_networks.py

# Every block of memory is exactly as large as the interface says, so that a byte too far is seen.
fuzz-engine: $(VENV)/installed
	cmake -S runtime/engine -B build/fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS="$(SANITIZE)" -DERNN_FUZZ=ON > build/fuzz.log
	cmake --build build/fuzz --target fuzz_engine --parallel 2 >> build/fuzz.log
	$(BIN)/python tests/fuzz/make_seeds.py build/fuzz/seeds
	mkdir -p build/fuzz/corpus
	cd build/fuzz && ./fuzz_engine -max_total_time=$(FUZZ_SECONDS) -max_len=32768 -timeout=20 -rss_limit_mb=2048 \
		-verbosity=0 -print_final_stats=1 corpus seeds 2>&1

system-tools:
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $(TOOLS)

wheels: $(VENV)/installed
	$(BIN)/edgernn targets wheel --all --out dist
	EDGERNN_ALL_WHEELS=1 $(BIN)/python -m pytest -q tests/test_wheels.py

emulated-python: $(VENV)/installed
	$(BIN)/python tests/emulated_python.py
	$(BIN)/python -m pytest -q tests/test_emulated_python.py

int8: $(VENV)/installed
	$(BIN)/python benchmarks/int8_accuracy.py
	$(BIN)/python benchmarks/int8_near_form.py
	$(BIN)/python benchmarks/int8_keyword.py --qat tests/golden/keyword/digits.int8.onnx

tflite: $(VENV)/installed $(LINKS) build/tflite-runtime/installed build/litert-torch/installed
	PYTHONPATH=build/links build/litert-torch/bin/python benchmarks/litert_torch_files.py build/litert-torch/files
	$(BIN)/python benchmarks/tflite.py --old build/tflite-runtime/bin/python --peers build/litert-torch/files
	$(BIN)/python benchmarks/litert_step.py build/litert-torch/files

# docs/support.md from what the tests find
support: $(VENV)/installed
	rm -rf build/support
	EDGERNN_SUPPORT=build/support $(BIN)/python -m pytest -q -n 2 --dist loadgroup tests/test_families.py tests/test_quantize.py \
		tests/test_refusals.py -k "(test_contract or (test_quantize and test_families) or users_bring) and not spellings"
	PYTHONPATH=tests $(BIN)/python tests/support.py build/support

# A row is kept until its example changes; NAME-DATA is NAME on other data.
applications: $(ROWS)
	$(BIN)/python -m examples.measure

build/applications/text_generation-stdlib.json: examples/text_generation.py | $(VENV)/installed
	$(BIN)/python -m examples.text_generation --data stdlib

build/applications/gradients.json: examples/gradients.py | $(VENV)/installed
	$(BIN)/python -m examples.gradients --plot docs/gradients.svg

build/applications/%.json: examples/%.py | $(VENV)/installed
	$(BIN)/python -m examples.$*

docs: $(VENV)/installed
	$(BIN)/python benchmarks/torch_onnx_export.py

pictures: $(VENV)/installed
	$(BIN)/python docs/pictures/make.py

# Again after a change of the C sources: the environment has them compiled.
$(VENV)/installed: pyproject.toml constraints.txt $(ENGINE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "edgernn needs Python 3.11 or later"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "hint: Debian keeps venv in python3-venv"; exit 1; }
	@echo "== install edgernn and what it is developed with (torch is 200 MB)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The last runtime of its name takes NumPy 1 and Python 3.11 at most; the peers' packages bring torch once more.
build/tflite-runtime/installed:
	$(PYTHON) -m venv build/tflite-runtime
	build/tflite-runtime/bin/pip install --quiet click numpy==1.26.4 tflite-runtime==2.14.0
	@touch $@

build/litert-torch/installed:
	$(PYTHON) -m venv build/litert-torch
	build/litert-torch/bin/pip install --quiet litert-torch==0.10.0 ai-edge-quantizer==0.10.0 torch==2.13.0
	@touch $@

# The folders are one package only once installed; mypy sees them through links.
$(LINKS): Makefile
	@rm -rf $(LINKS) && mkdir -p $(LINKS)
	@cd $(LINKS) && for item in ../../../edgernn/*; do ln -s $$item .; done && ln -s ../../../export ../../../quantize ../../../runtime ../../../targets .

clean:
	rm -rf build dist $(VENV)
