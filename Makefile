# Doorbuster. `make help` lists the targets. All need Rust >= 1.95, make and a C compiler; `needs` fetches what tests need.

CARGO ?= cargo
# What `make demo` and `make compare` pass on to the program, such as ARGS=--exit.
ARGS ?=

.DEFAULT_GOAL := help
# What `make crash` runs: round n has the seed SEED + n.
SEED ?= 1
ROUNDS ?= 20
# What `make interleavings` runs: seeds from SEED on, so many.
COUNT ?= 100000
# What `make losers` sends.
LOSERS ?= 5000000
# How long each run of `make compare` is; its ROUNDS are 10 unless told.
SECONDS ?= 1.5
# Programs that tests need beside Rust's, which `make needs` finds or fetches; SKIP=strace,mysql leaves their tests out.
SKIP ?=
export SKIP

.PHONY: help demo test verify bench bench-check bench-accept instructions profile compare crash rain losers mysql-faults interleavings tools fetch needs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: fetch ## a crowd buys out a sale, then the audit; stays up for you to try (ARGS=--exit ends it, ARGS="--scene rain" has red packets)
	$(CARGO) run --release --locked -- demo $(ARGS)

test: fetch needs ## all tests
	$(CARGO) test --workspace --locked --no-fail-fast

verify: fetch needs ## format, lints, docs, then all tests: what must hold before a commit
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	$(CARGO) test --workspace --locked --no-fail-fast

bench: fetch needs ## the figures that the README and the notes name
	$(CARGO) bench --locked
	$(CARGO) test --release --locked --test mysql_audit -- --ignored --nocapture

bench-check: instructions ## instructions of the hot functions beside benches/instructions.json; fails where one takes 3 % more
	@$(CARGO) run --release --locked -q --example bench_check -- target/tools/instructions.json

bench-accept: instructions ## let what they take now be what benches/instructions.json says
	@$(CARGO) run --release --locked -q --example bench_check -- target/tools/instructions.json --accept

# Counts them, of a build as everybody else has it. The runner and an unpacked valgrind are where scripts/need.sh puts them.
instructions: fetch
	@scripts/need.sh valgrind gungraun-runner
	@mkdir -p target/tools
	CARGO_INCREMENTAL=0 PATH="$(CURDIR)/target/tools/bin:$$PATH" $(CARGO) bench --locked --bench instructions -- --output-format=json >target/tools/instructions.json

profile: SECONDS = 5
profile: fetch ## a flame graph of the server under orders that are all accepted, in target/profile (SECONDS=5)
	@scripts/need.sh wrk perf
	$(CARGO) build --release --locked -p doorbuster -p contenders
	$${CARGO_TARGET_DIR:-target}/release/compare --profile target/profile --seconds $(SECONDS)

compare: ROUNDS = 10
compare: fetch ## Doorbuster beside Redis, MySQL and no decision at all, in interleaved rounds (ROUNDS=10 SECONDS=1.5)
	@scripts/need.sh redis-server wrk mariadbd
	$(CARGO) build --release --locked -p doorbuster -p contenders
	$${CARGO_TARGET_DIR:-target}/release/compare --rounds $(ROUNDS) --seconds $(SECONDS) $(ARGS)

crash: fetch needs ## kill -9 in mid-sale, while winners pay and under red packets, again and again, with audits (SEED=1 ROUNDS=20), and at every system call of a start
	CRASH_SEED=$(SEED) CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --release --locked --test crash --test crash_paying --test crash_rain --test strace -- --nocapture --test-threads=1

rain: fetch needs ## 100,000 red packets, 1,000,000 users, MySQL and a kill -9 in the middle: what adds up to the cent (SEED=1)
	CRASH_SEED=$(SEED) $(CARGO) test --release --locked --test crash_rain -- --ignored --nocapture

losers: fetch needs ## five million losers over HTTP, and what they leave in the server's memory (LOSERS=5000000)
	LOSERS=$(LOSERS) $(CARGO) test --release --locked --test losers_memory -- --nocapture

mysql-faults: fetch needs ## everything between the server and MySQL fails, again and again, with audits (SEED=1 ROUNDS=20)
	MYSQL_SEED=$(SEED) MYSQL_ROUNDS=$(ROUNDS) $(CARGO) test --release --locked --test mysql_faults -- --nocapture

interleavings: fetch ## shards under random orders of letters, requests and crashes (SEED=1 COUNT=100000)
	SEED=$(SEED) COUNT=$(COUNT) $(CARGO) test --release --locked --lib interleavings -- --nocapture

needs:
	@scripts/need.sh strace mariadbd wrk

# mimalloc is C and is built from source; a missing compiler would show only deep in its output.
tools:
	@command -v $(CARGO) >/dev/null || { echo "NOT RUN: cargo is missing; install Rust >= 1.95 from https://rustup.rs"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "NOT RUN: a C compiler is missing; apt-get install gcc, or its like"; exit 1; }

fetch: tools
	@echo "fetching, where they are not here yet, the crates that Cargo.lock names, to build from"
	@$(CARGO) fetch --locked --target "$$(rustc -vV | sed -n 's/^host: //p')"
