#!/bin/sh
# Usage: package_tools.sh [--quiet]
#
# Makes sure of what the package's libraries are built with, and prints on stdout where that is, as assignments for the
# shell: Rust with the sources of its standard library, from Debian's archive, without root; Zig, which links for
# systems other than this one, cargo-zigbuild, which tells cargo so, and what reads the libraries afterwards, from the
# Python registry. The same for everybody, whatever is on PATH: what is built depends on it. Kept in the user's cache
# folder for the next time.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh
. scripts/rust.sh

me=package_tools
recipe=1 # raise when the packages or their treatment change: the old folder is then left alone
remedy='make the package on Debian or a system made of it'
wheels='
    ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54
    cargo-zigbuild==0.24.1 --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375
    pyelftools==0.33 --hash=sha256:f215ad5f47d3f1373a21496a6c9e0707c622840d0622f23ff7ce08678b020036
    macholib==1.16.4 --hash=sha256:da1a3fa8266e30f0ce7e97c6a54eefaae8edd1e5f86f3eb8b95457cae90265ea
    altgraph==0.17.5 --hash=sha256:f3a22400bce1b0c701683820ac4f3b159cd301acab067c51c653e06961600597'

# True when the private copy is complete, and was made for the place where it lies.
cached() { grep -qsF "$prefix/usr/lib" "$prefix/usr/bin/cargo" && [ -x "$prefix/bin/cargo-zigbuild" ]; }

# (set -e does not hold in here.)
unpack() {
    unpack_rust || return
    mkdir "$tmp/root/bin" "$tmp/root/python" || return
    for wheel in "$tmp"/wheels/*.whl; do
        python3 -I -m zipfile -e "$wheel" "$tmp/root/python" || return
    done
    mv "$tmp"/root/python/ziglang "$tmp/root/zig" || return
    mv "$tmp"/root/python/cargo_zigbuild-*.data/scripts/cargo-zigbuild "$tmp/root/bin" || return
    ln -s ../zig/zig "$tmp/root/bin/zig" || return
    # A wheel unpacked like this has lost its permissions.
    chmod +x "$tmp/root/zig/zig" "$tmp/root/bin/cargo-zigbuild"
}

fetch() {
    [ "$(uname -s)-$arch" = Linux-amd64 ] || fail "the tools are fetched for Linux on x86-64 only; $remedy"
    python3 -I -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed: install them"
    find_archive
    begin_prefix || return 0
    say "fetching Rust from Debian $rust_suite and Zig from the Python registry, 300 MB, once, into $prefix"
    fetch_rust rust-src
    mkdir "$tmp/wheels"
    echo "$wheels" >"$tmp/wheels.txt"
    python3 -I -m pip download --quiet --no-input --no-deps --only-binary :all: --require-hashes \
        --dest "$tmp/wheels" -r "$tmp/wheels.txt" >"$tmp/log" 2>&1 ||
        fail "cannot fetch Zig: $(grep -m 1 '^ERROR' "$tmp/log" || last_words);" \
            "pip must reach an index that has it, see PIP_INDEX_URL"
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    # shellcheck disable=SC2030
    if ! (PATH=$prefix/bin:$prefix/usr/bin:$PATH && rustc --version && cargo-zigbuild --version && zig version) \
        >"$tmp/log" 2>&1; then
        broken "Rust from Debian $rust_suite, or Zig,"
    fi
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/package-r$recipe-$rust_suite-$arch
cached || (fetch)
say "rust: $("$prefix/usr/bin/rustc" --version | cut -d ' ' -f 2), $prefix/usr/bin/rustc"
say "zig: $("$prefix/bin/zig" version), $prefix/bin/zig"
printf "PACKAGE_TOOLS='%s'\n" "$prefix"
