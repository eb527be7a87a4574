#!/bin/sh
# Usage: package.sh [TARGET...]
#
# Builds the native library for each target that the package has one for, or for those that are named, with the tools
# of package_tools.sh, into _build/package/prebuilt, with their checksums. The same sources and tools give the same
# bytes, wherever they lie.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

[ $# -gt 0 ] || set -- \
    aarch64-apple-darwin aarch64-unknown-linux-gnu aarch64-unknown-linux-musl \
    x86_64-apple-darwin x86_64-unknown-linux-gnu x86_64-unknown-linux-musl

tools=$(scripts/package_tools.sh --quiet)
eval "$tools"
PATH=$PACKAGE_TOOLS/bin:$PACKAGE_TOOLS/usr/bin:$PATH
cargo_home=${CARGO_HOME:-$HOME/.cargo}
prebuilt=$root/_build/package/prebuilt

# Nothing that the caller has set for cargo and rustc gets in, but for where crates come from.
for name in $(env | sed -n 's/^\(CARGO_[A-Z_0-9]*\|RUST[A-Z_0-9]*\)=.*/\1/p'); do
    case $name in CARGO_HOME | CARGO_NET_* | CARGO_HTTP_* | CARGO_REGISTR*) ;; *) unset "$name" ;; esac
done
export CARGO_INCREMENTAL=0 RUSTC_BOOTSTRAP=1 # for build-std

# The flags, with a separator that no path has. crt-static: see .cargo/config.toml, which counts no more now.
unit=$(printf '\037')
flags=-Ctarget-feature=-crt-static$unit-Alinker-messages # Zig misses folders that are empty anyway
for pair in "$root=." "$cargo_home=/cargo" "$PACKAGE_TOOLS=/tools"; do
    flags="$flags$unit--remap-path-prefix=$pair"
done
export MACOSX_DEPLOYMENT_TARGET=11.0 SDKROOT="$PACKAGE_TOOLS/zig/lib/libc/darwin"

# build <target>. (set -e does not hold in here.)
build() {
    zig_target=$1 extension=so strip=symbols link=
    case $1 in
        *-linux-gnu) zig_target=$1.2.17 ;; # the oldest glibc that Rust's standard library runs with
        *-darwin)
            # What Rust strips with for Darwin is not among the tools; and the library would have its path as its name.
            extension=dylib strip=none
            link=$unit-Clink-arg=-Wl,-x,-S$unit-Clink-arg=-Wl,-install_name,@rpath/erlmcp_native.so
            ;;
    esac
    export CARGO_PROFILE_RELEASE_STRIP=$strip CARGO_ENCODED_RUSTFLAGS="$flags$link"
    echo "package: building for $zig_target" >&2
    cargo zigbuild --quiet --release --locked -p erlmcp-nif --target "$zig_target" \
        -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind || return
    cp "$CARGO_TARGET_DIR/$1/release/liberlmcp_native.$extension" "$prebuilt/$1.so"
}

# build_all <machine> <targets>: those of the machine, one after the other, in a folder of their own.
build_all() {
    machine=$1
    shift
    export CARGO_TARGET_DIR="$root/target/package/$machine" CARGO_ZIGBUILD_CACHE_DIR="$root/target/package/$machine/zig"
    for target; do
        case $target in "$machine"-*) build "$target" || return ;; esac
    done
}

rm -rf "$prebuilt"
mkdir -p "$prebuilt"
# Two at once: the last half of each build is the work of one thread.
build_all aarch64 "$@" &
build_all x86_64 "$@" && built=yes || built=
wait $!
[ -n "$built" ]
python3 -I -B scripts/package_check.py "$PACKAGE_TOOLS" "$prebuilt" "$root" "$cargo_home" "$PACKAGE_TOOLS"
cd "$prebuilt"
sha256sum -- *.so >"$prebuilt.sums"
mv "$prebuilt.sums" SHA256SUMS
