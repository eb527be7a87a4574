#!/bin/sh
# Usage: rust_tools.sh [--quiet]
#
# Makes sure that Rust is there, and prints on stdout what to put in front of
# PATH: a directory, or an empty line when the rustc and cargo already on PATH
# will do. Otherwise it comes from Debian's archive, without root, and is kept
# in the user's cache folder for the next time. For toolchain.sh.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh
. scripts/rust.sh

me=toolchain
recipe=1 # raise when the packages or their treatment change: the old folder is then left alone
min_rust=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
remedy="get Rust $min_rust or newer (rustc and cargo) with rustup and put it on PATH"

# The version of rustc or cargo, the first on PATH.
version_of() {
    said=$("$1" --version 2>/dev/null) || return
    said=${said#* }
    echo "${said%% *}"
}

# True when PATH, as it is, has a Rust that is new enough.
on_path() {
    for tool in rustc cargo; do
        found=$(command -v $tool) || return
        case $found in "$cache"/*) return 1 ;; esac # ours, put there by an outer make
        version=$(version_of $tool) || version=0
        if ! at_least "$version" "$min_rust"; then
            remedy="$remedy ($found is too old, or does not run)"
            return 1
        fi
    done
}

# True when the private copy is complete, and was made for the place where it lies.
cached() { grep -qsF "$prefix/usr/lib" "$prefix/usr/bin/cargo"; }

fetch() {
    find_archive
    begin_prefix || return 0
    say "fetching Rust from Debian $rust_suite, about 130 MB, once, into $prefix"
    fetch_rust rust-clippy rustfmt
    unpack_rust >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    # shellcheck disable=SC2030
    if ! (PATH=$bin:$PATH && rustc --version && cargo --version && cargo-clippy --version && rustfmt --version) \
        >"$tmp/log" 2>&1; then
        broken "Rust from Debian $rust_suite"
    fi
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/rust-r$recipe-$rust_suite-$arch
bin=$prefix/usr/bin
if on_path; then
    bin=
elif ! cached; then
    fetch
fi
# shellcheck disable=SC2031
PATH=$bin${bin:+:}$PATH
for tool in rustc cargo; do
    say "rust: $tool $(version_of $tool), $(command -v $tool)"
done
printf '%s\n' "$bin"
