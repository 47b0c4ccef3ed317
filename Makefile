# A thin front over Meson. `make` builds; `make demo` and `make check` first install what is missing.
# BUILD is where; JOBS is how many processes at once; further Meson options go in MESON_OPTIONS. PREFIX is where
# `make install` puts the programs.
BUILD ?= build
JOBS ?= $(shell nproc)
MESON_OPTIONS ?=
PREFIX ?= /usr/local

# The suites that run again with AddressSanitizer and UndefinedBehaviorSanitizer.
SANITIZED_SUITES = unit golden fuzz
SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized -Dcuda=disabled -Dmpi=disabled

# `make fuzz`: seconds and executions for each target; FUZZ names the targets (all).
FUZZ_SECONDS ?= 60
FUZZ_RUNS ?= -1
FUZZ ?=

.PHONY: all demo check check-plain check-sanitized check-slow check-gpu bench fuzz format install clean needs
.NOTPARALLEL:

all: $(BUILD)/build.ninja
	ninja -C $(BUILD) -j $(JOBS)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "meson is missing: run tests/install-dependencies" >&2; exit 2; }
	meson setup $(BUILD) $(MESON_OPTIONS)

needs:
	@tests/install-dependencies build check

demo: needs
	@$(MAKE) --no-print-directory all
	tests/demo $(BUILD)

check: check-plain check-sanitized

check-plain: needs
	@$(MAKE) --no-print-directory all
	meson test -C $(BUILD) --num-processes $(JOBS) --print-errorlogs --no-suite gpu --no-suite slow

# Warnings are the plain build's business: gcc's differ under the sanitizers.
check-sanitized: needs
	@test -e $(BUILD)-asan/build.ninja || meson setup $(BUILD)-asan -Dwerror=false $(SANITIZE) $(MESON_OPTIONS)
	ninja -C $(BUILD)-asan -j $(JOBS)
	meson test -C $(BUILD)-asan --num-processes $(JOBS) --print-errorlogs --no-suite gpu --no-suite slow \
	    $(addprefix --suite ,$(SANITIZED_SUITES))

check-slow: needs
	@$(MAKE) --no-print-directory all
	meson test -C $(BUILD) --num-processes $(JOBS) --print-errorlogs --suite slow --no-suite gpu

check-gpu: all
	meson test -C $(BUILD) --num-processes 1 --print-errorlogs --suite gpu

bench: all
	meson test -C $(BUILD) --benchmark --num-processes 1 --print-errorlogs --verbose

fuzz:
	@tests/install-dependencies build check fuzz
	@test -e $(BUILD)-fuzz/build.ninja || CC=clang-19 meson setup $(BUILD)-fuzz -Dfuzz=true -Dwerror=false $(SANITIZE)
	ninja -C $(BUILD)-fuzz -j $(JOBS)
	tests/fuzz/run $(BUILD)-fuzz $(FUZZ_SECONDS) $(FUZZ_RUNS) $(FUZZ)

format:
	python3 tests/lint/format.py --fix

install: all
	meson configure $(BUILD) --prefix=$(PREFIX)
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz
