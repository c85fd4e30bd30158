# Every target does the set-up that it needs; `make help` lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help quickstart audit test coverage chaos bench-scale bench-cluster bench-pytorch fuzz-build fuzz check build libtorch lint doc deny bless fmt clean tools

# A variable that is set but empty would hide the pinned libtorch from cargo.
$(foreach name,LIBTORCH LIBTORCH_USE_PYTORCH LIBTORCH_LIB LIBTORCH_INCLUDE,$(if $($(name)),,$(eval unexport $(name))))

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The one profile: what `make quickstart` has built, `make test` does not build again.
BUILD := --release --locked
# nextest prints more and runs each test in a process of its own, but it runs no example of the documentation.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
TEST := $(if $(NEXTEST),nextest run,test) $(BUILD) --no-fail-fast

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

quickstart: build ## train a real grid, fit its laws, print a recipe, draw the report
	@sh scripts/quickstart.sh $(TARGET)/release/sandbox

audit: build ## replay forecasts on published runs, where they are, and on our own studies; RECORD=FILE keeps the figures
	@python3 scripts/audit.py $(TARGET)/release/sandbox $(if $(RECORD),--record $(RECORD))

test: libtorch ## run all tests
	cargo $(TEST)
	$(if $(NEXTEST),cargo test $(BUILD) --doc --quiet)
	@sh scripts/solver.sh $(TARGET)

coverage: libtorch ## how often the intervals of laws hold the truth, and the solver against 4,500 starts of L-BFGS: ten minutes
	SANDBOX_COVERAGE=1 cargo test $(BUILD) --test fit_planted intervals_cover -- --nocapture
	SANDBOX_COVERAGE=1 sh scripts/solver.sh $(TARGET)

chaos: libtorch ## kill a run KILLS times (120) at random moments, and compare with one that was left alone
	SANDBOX_CHAOS=$(or $(KILLS),120) cargo test $(BUILD) --test it chaos -- --nocapture

bench-scale: build ## how the orchestrator carries 10,000 toy trials of 1,000 points each
	@python3 scripts/bench_scale.py $(TARGET)/release/sandbox

bench-cluster: libtorch ## what a stage costs the orchestrator of 1,000 make-believe workers and 100,000 stages
	SCALE_WORKERS=1000 SCALE_STAGES=100000 cargo test $(BUILD) --test cluster_scale losses -- --nocapture

bench-pytorch: build ## tokens a second of a training step, beside PyTorch's in turn (installs it into .venv)
	@test -x .venv/bin/python || { python3 -m venv .venv && .venv/bin/pip install --quiet torch==2.11.0 numpy; }
	.venv/bin/python scripts/bench_pytorch.py $(TARGET)/release/sandbox $(BENCH)

fuzz-build: tools ## build the fuzz targets, where their crates can be fetched
	@sh scripts/fuzz.sh build

fuzz: tools ## run the fuzz target FUZZ (sweep_file, worker_lines, checkpoint_header, slurm_text) for SECONDS (600)
	@sh scripts/fuzz.sh run $(FUZZ) $(or $(SECONDS),600)

check: lint test doc deny ## all that has to pass: format, lints, tests, documentation, licences

build: libtorch ## build sandbox and sandbox-worker into target/release
	cargo build $(BUILD)

libtorch: tools ## fetch the pinned libtorch into .libtorch/, unless LIBTORCH names yours
	@sh scripts/libtorch.sh

lint: libtorch ## check the format and run clippy
	cargo fmt --check
	cargo clippy $(BUILD) --all-targets -- -D warnings

doc: libtorch ## build the documentation of the code
	RUSTDOCFLAGS="-D warnings" cargo doc $(BUILD) --no-deps

deny: tools ## check licences, bans and sources of the dependencies, where cargo-deny is installed
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check licenses bans sources; \
	else echo "cargo-deny is not installed: licences, bans and sources were not checked"; fi

bless: libtorch ## accept what the tests print now as what they should print
	INSTA_UPDATE=always cargo $(TEST)

fmt: tools ## format the code
	cargo fmt

clean: tools ## remove what was built and fetched; runs and reports stay
	cargo clean
	rm -rf .libtorch .libtorch.[0-9]*

tools:
	@sh scripts/need.sh cargo cc c++
