# make demo   from a fresh clone: install, learn sample_pcaps/office.pcap, write a million packets
# make test   format, lint, types and tests; what .ci/run runs
# make venv   a virtual environment in .venv with netsynth in it
# make clean  remove what these made

PYTHON ?= python3
# The build of torch for CUDA is some gigabytes. Without a GPU, the one for CPUs is enough:
#   make venv TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test venv clean
.DELETE_ON_ERROR:

venv: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netsynth needs Python 3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/.installed
	mkdir -p demo
	$(BIN)/netsynth fit sample_pcaps/office.pcap -o demo/office.netsynth
	$(BIN)/netsynth sample -m demo/office.netsynth demo/office-again.pcap
	$(BIN)/netsynth report --quick sample_pcaps/office.pcap demo/office-again.pcap
	$(BIN)/netsynth sample -m demo/office.netsynth -n 1e6 demo/office-million.pcap
	@echo
	@echo "demo/office-million.pcap holds 1,000,000 packets that behave like"
	@echo "sample_pcaps/office.pcap; demo/office-again.pcap is as long as that one, and the"
	@echo "table above says how close it is."

test: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto

clean:
	rm -rf .venv demo build dist *.egg-info
