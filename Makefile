# What a newcomer needs: `make demo` and `make test`. Everything else they need is fetched or named.

# Rust, a linker, Erlang and rebar3 of the toolchain come first on PATH, unless the system's own will do.
with_toolchain := tools=$$(scripts/toolchain.sh --quiet) && PATH="$$tools$${tools:+:}$$PATH" &&

.PHONY: demo test integration pictures docs package test-package bench bench-page shell tables simulate toolchain
.PHONY: lint test-rust test-loom test-erlang test-consumer test-otp28 sanitize fuzz soak

demo: toolchain
	@$(with_toolchain) rebar3 as demo compile && scripts/run.sh demo erlmcp_native_demo

bench: toolchain
	@$(with_toolchain) rebar3 as bench compile && scripts/run.sh bench erlmcp_native_bench

# The page beside a million owners, in a browser.
bench-page: toolchain
	$(with_toolchain) rebar3 as integration,bench compile
	@$(with_toolchain) programs=$$(scripts/integration_tools.sh) && set -a && eval "$$programs" && \
		"$$PYTHON" -E -s -B integration/bench_page.py

shell: toolchain
	@$(with_toolchain) rebar3 shell

# The tables of options in the documentation, from those in the code. A test tells when they differ.
tables: toolchain
	@$(with_toolchain) rebar3 compile && escript scripts/tables.escript _build/default/lib/erlmcp_native/ebin

# The plots and tables of docs/internals/simulation.md.
simulate: toolchain
	$(with_toolchain) cargo run --release --locked -p erlmcp-core --example simulate -- docs/internals

toolchain:
	@scripts/toolchain.sh >/dev/null

test: lint test-rust test-loom test-erlang test-consumer

# What these run besides is found or fetched by the script, and named by it where that fails. -I -B: nothing of the
# user's Python matters, and no byte code is left here.
integration: toolchain
	$(with_toolchain) rebar3 as integration compile && rebar3 as demo compile
	@$(with_toolchain) programs=$$(scripts/integration_tools.sh) && set -a && eval "$$programs" && \
		"$$PYTHON" -I -B -m pytest integration

# The pictures of the page in docs/images. A test tells when the page has changed since.
pictures: toolchain
	$(with_toolchain) rebar3 as integration compile
	@$(with_toolchain) programs=$$(scripts/integration_tools.sh) && set -a && eval "$$programs" && \
		PICTURES=make "$$PYTHON" -I -B -m pytest integration/test_pictures.py

# The documentation site, in _build/docs.
docs: toolchain
	$(with_toolchain) rebar3 compile
	@$(with_toolchain) ex_doc=$$(scripts/docs_tools.sh) && scripts/docs.sh "$$ex_doc"

# The package for hex with a library for each system, in _build/package.
package: toolchain
	@scripts/package.sh
	@$(with_toolchain) escript scripts/package.escript

# Made again elsewhere and compared, looked into, compiled, and started with each library on a system of its kind.
test-package: package
	@$(with_toolchain) test/package/run.sh
	@$(with_toolchain) test/consumers/package.sh _build/package/erlmcp_native-*.tar

lint: toolchain
	scripts/lines.sh
	$(with_toolchain) cargo fmt --check
	$(with_toolchain) cargo clippy --workspace --all-targets --locked -- -D warnings

test-rust: toolchain
	$(with_toolchain) cargo test --workspace --locked

# Its own target folder: the flag changes every crate.
test-loom: toolchain
	$(with_toolchain) RUSTFLAGS="--cfg loom" cargo test --locked -p erlmcp-core --release --lib --target-dir target/loom

test-erlang: toolchain
	$(with_toolchain) rebar3 as examples,demo,bench compile
	$(with_toolchain) rebar3 xref
	$(with_toolchain) rebar3 dialyzer
	$(with_toolchain) rebar3 eunit

test-consumer: toolchain
	$(with_toolchain) test/consumers/run.sh

# The tests that need no more than kernel, stdlib and crypto on OTP 28, compiled for it by the newer one.
test-otp28: toolchain
	@$(with_toolchain) otp28=$$(scripts/otp28.sh) && rebar3 as test,otp28 compile && \
		scripts/run.sh test+otp28 erlmcp_native_otp28_plan && \
		PATH="$$otp28:$$PATH" scripts/run.sh test+otp28 erlmcp_native_otp28

# The core's tests, and tests of the native library, under the sanitizers that come with Rust.
sanitize: toolchain
	@$(with_toolchain) rebar3 as test,sanitize compile && scripts/sanitize.sh

# Every native and every public function with odd terms, for FUZZ_MINUTES.
fuzz: toolchain
	@$(with_toolchain) rebar3 as fuzz compile && scripts/run.sh fuzz erlmcp_native_fuzz

# Everything that comes and goes, under kills and reloads, for SOAK_MINUTES: what must be true at rest, and what grows.
soak: toolchain
	@$(with_toolchain) rebar3 as soak compile && scripts/run.sh soak erlmcp_native_soak
