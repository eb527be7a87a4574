#!/bin/sh
# Usage: sanitize.sh
#
# The core's tests under AddressSanitizer with LeakSanitizer, and under ThreadSanitizer; then tests of the native
# library in an Erlang runtime under AddressSanitizer. Stable Rust has the sanitizers' runtimes, but asks to be told
# that unstable options are meant. Each sanitizer is first shown a fault that it has to see.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
export RUSTC_BOOTSTRAP=1
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only
host=$(rustc -vV | sed -n 's/^host: //p')
out=$root/target/sanitize
tools=$root/tools/sanitize

say() { printf 'sanitize: %s\n' "$*"; }
fail() { printf 'sanitize: %s\n' "$*" >&2; exit 1; }

# The runtimes of the sanitizers: a fault has a status of its own.
export ASAN_OPTIONS=detect_leaks=1:exitcode=99
export TSAN_OPTIONS="suppressions='$tools/thread.supp':exitcode=99"
address='-Zsanitizer=address'
# The standard library is not built for it: thread.supp has what follows from that.
thread='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer'

# has_to_see <words of the report> <command>...: fails unless the command does, with these words.
has_to_see() {
    report=$1
    shift
    if "$@" >"$out/report" 2>&1 || ! grep -q "$report" "$out/report"; then
        fail "what was done on purpose was not seen: $report, in $*: $(tail -n 1 "$out/report")"
    fi
}

# faults <flags of the sanitizer> <name> <flags of rustc>...
faults() {
    # shellcheck disable=SC2086
    rustc $1 -O -g --edition 2024 -o "$out/$2" "$tools/faults.rs" --crate-name faults --crate-type "$3" ||
        fail "this rustc cannot make programs for a sanitizer"
}

# core <name> <flags of the sanitizer>
core() {
    say "the core's tests, $1"
    RUSTFLAGS=$2 cargo test --quiet --locked -p erlmcp-core --lib --test '*' --no-fail-fast --target "$host" \
        --target-dir "$out/$1"
}

# The runtime of AddressSanitizer as a library to be loaded before all others: Rust has it as an archive for programs,
# of which one file, for what is to run before a program's start, has no place in a library.
shared_runtime() {
    archive=$(echo "$(rustc --print sysroot)/lib/rustlib/$host"/lib/librustc*rt.asan.a)
    [ -e "$archive" ] || fail "this rustc has no runtime of AddressSanitizer for $host"
    cp "$archive" "$out/asan.a"
    ar d "$out/asan.a" asan_preinit.cpp.o
    cc -shared -o "$out/libsanitizer.so" -Wl,--whole-archive "$out/asan.a" -Wl,--no-whole-archive \
        -lpthread -ldl -lm -lrt
}

# The application as rebar3 compiled it, with the library that is looked at.
application() {
    RUSTFLAGS=$address cargo build --quiet --locked -p erlmcp-nif --target "$host" --target-dir "$out/address"
    rm -rf "$out/erlmcp_native"
    mkdir -p "$out/erlmcp_native"
    cp -RL "$root/_build/test+sanitize/lib/erlmcp_native/ebin" "$root/priv" "$out/erlmcp_native"
    cp "$out/address/$host/debug/liberlmcp_native.so" "$out/erlmcp_native/priv/erlmcp_native.so"
}

# runtime <module>: runs its main/0. What the runtime itself still holds when it ends is no concern of ours.
runtime() {
    env LD_PRELOAD="$out/libsanitizer.so" ASAN_OPTIONS=detect_leaks=0:exitcode=99 \
        ERL_ZFLAGS="-pa '$out/erlmcp_native/ebin'" SANITIZE_LIBRARY="$out/libfault" \
        scripts/run.sh test+sanitize "$1"
}

mkdir -p "$out"
faults "$address" address_faults bin
faults "$thread" thread_faults bin
has_to_see 'AddressSanitizer: heap-use-after-free' "$out/address_faults" use_after_free
has_to_see 'LeakSanitizer: detected memory leaks' "$out/address_faults" leak
has_to_see 'ThreadSanitizer: data race' "$out/thread_faults" race
core address "$address"
core thread "$thread"

say "the native library in a runtime, address"
shared_runtime
application
faults "$address" libfault.so cdylib
has_to_see 'AddressSanitizer: heap-use-after-free' runtime erlmcp_native_sanitize_fault
runtime erlmcp_native_sanitize
say "nothing was found"
