# Two commands for a newcomer: `make demo` and `make test`. The rest is for who works on it.
# Needs: git, make, Python 3.11 to 3.13 with venv (Debian: sudo apt install git make python3-venv).

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEVICE_STUBS := micropython-esp32-stubs==1.29.0.post1

.PHONY: demo test check bench fuzz test-system deb clean
.DELETE_ON_ERROR:

demo: .venv/demo
	$(BIN)/stoep demo $(ARGS)

test: .venv/test .venv/oracles .venv/wheelhouse/ready .venv/promtool-sought
	@tools/needs.sh mosquitto strace
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# make test-system      what takes long: 200 kills of the gateway under load, ten a seed,
#                       a device cut at every point of a life, and each fault of a bench at each step of a board
test-system: .venv/test .venv/home-assistant/ready
	@tools/needs.sh mosquitto
	@tools/needs.sh systemd-nspawn debootstrap dh dpkg-buildpackage lintian || true
	STOEP_SYSTEM=1 $(BIN)/python -m pytest -rs tests/system $(ARGS)
	STOEP_KILL_SEEDS=20 $(BIN)/python -m pytest -n 2 -rP tests/scenarios/test_kills.py \
	  tests/scenarios/test_kills_while_forgetting.py $(ARGS)
	STOEP_CHAOS_S=3600 $(BIN)/python -m pytest -rP tests/scenarios/test_chaos.py $(ARGS)
	STOEP_CUT_STRIDE=1 $(BIN)/python -m pytest -n 2 -rP --dist worksteal -k "cut_at" \
	  tests/machines/test_device_power_cut.py $(ARGS)
	STOEP_FLASH_STRIDE=2000 $(BIN)/python -m pytest -n 2 -rP -k "cut_short or every_step" \
	  tests/scenarios/test_flash.py tests/scenarios/test_flash_every_step.py $(ARGS)
	$(BIN)/python -m pytest -rs -k home_assistant_ tests/machines/test_home_assistant.py $(ARGS)

check: .venv/test .stubs/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file mypy-device.ini
	$(BIN)/lint-imports --no-logo
	$(BIN)/python packaging/audit.py

# make bench            every benchmark, one `name value unit` line per figure
# make bench B=pipeline one of them
bench: .venv/test
	@if [ -n "$(B)" ]; then $(BIN)/python bench/$(B).py $(ARGS); else \
	  for b in bench/[a-z]*.py; do $(BIN)/python $$b || exit 1; done; fi

# make fuzz             1 000 000 inputs and more, of everything that strangers can send
# make fuzz ARGS="--inputs 50000 gwmp"
fuzz: .venv/fuzz
	$(BIN)/python fuzz/run.py $(ARGS)

# make deb              Debian packages of the gateway, in build/: bookworm and trixie, amd64 and arm64
# make deb DIST=bookworm ARCH=arm64
deb: .venv/test
	@tools/needs.sh dpkg-buildpackage dh readelf
	$(BIN)/python packaging/build.py $(addprefix --dist ,$(DIST)) $(addprefix --arch ,$(ARCH)) $(ARGS)

clean:
	rm -rf build .venv .stubs .fuzz tests/oracles/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- what the targets above stand on ---------------------------------------------------------

.venv/pyvenv.cfg:
	@tools/needs.sh python "$(PYTHON)"
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade "pip>=24"

.venv/demo: .venv/pyvenv.cfg pyproject.toml
	@echo "installing into .venv (a minute or two the first time)"
	$(PIP) install --editable '.[demo]'
	@touch $@

.venv/test: .venv/pyvenv.cfg pyproject.toml
	$(PIP) install --editable '.[test]'
	@touch $@ .venv/demo

.venv/fuzz: .venv/test
	$(PIP) install --editable '.[fuzz]'
	@touch $@

# Home Assistant's own schemas; where there is no Python 3.13 for them, their test is skipped.
.venv/home-assistant/ready: .venv/test
	@python=$$(for p in python3.13 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13*/bin/python; do \
	  $$p -c 'import venv' 2>/dev/null && { echo $$p; break; }; done); \
	if [ -z "$$python" ]; then echo "no Python 3.13: Home Assistant's own schemas are left out"; \
	else echo "installing Home Assistant into $(@D) (a minute or two the first time)"; \
	  $$python -m venv $(@D) && $(@D)/bin/python -m pip --disable-pip-version-check --quiet install \
	  homeassistant paho-mqtt && touch $@; fi

# The wheel is tried in an empty environment without asking the registry: what it needs lies here.
.venv/wheelhouse/ready: .venv/test
	rm -rf $(@D)
	$(PIP) download --dest $(@D) '.[demo]'
	@touch $@

.stubs/installed: .venv/test
	rm -rf .stubs
	$(PIP) install --target .stubs '$(DEVICE_STUBS)'
	@touch $@

.venv/promtool-sought: .venv/pyvenv.cfg
	@tools/promtool.sh $(BIN)
	@touch $@

.venv/oracles: tests/oracles/package-lock.json
	@tools/needs.sh node npm
	npm ci --prefix tests/oracles --no-audit --no-fund --loglevel=error
	@touch $@
