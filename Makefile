# Every target does the set-up that it needs; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help libtorch build quickstart test lint doc check bless fmt clean tools

SANDBOX := target/release/sandbox
# The one build profile: release, so that polars and torch-sys are built once for everything.
CARGO := cargo
TEST := $(if $(shell command -v cargo-nextest),nextest run --no-fail-fast,test --no-fail-fast)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

tools:
	@sh scripts/need.sh cargo c++ python3 pip

libtorch: tools ## fetch the pinned libtorch into .libtorch/, unless you have your own
	@sh scripts/libtorch.sh

build: libtorch ## build sandbox and sandbox-worker into target/release
	$(CARGO) build --release --locked

quickstart: build ## train a real grid, fit its laws, print a recipe, draw the report
	@sh scripts/quickstart.sh $(SANDBOX)

test: libtorch ## run all tests
	$(CARGO) $(TEST) --release --locked
	$(CARGO) test --release --locked --doc --quiet

lint: libtorch
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

doc: libtorch ## build the documentation of the code
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps

check: lint test doc ## format, lints, tests, documentation, licences
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check licenses bans sources; \
	else echo "cargo-deny is not installed: licences, bans and sources were not checked"; fi

bless: libtorch ## accept what the tests print now as what they should print
	INSTA_UPDATE=always $(CARGO) $(TEST) --release --locked

fmt: ## format the code
	$(CARGO) fmt

clean: ## remove what was built, but not the home and the reports
	$(CARGO) clean
	rm -rf .libtorch
