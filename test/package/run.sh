#!/bin/sh
# Makes the package a second time, from a clone in a folder with an odd name, and compares; looks at every file of it;
# compiles it; and starts it with each of its libraries in a runtime of that system. Expects `make package` to have been
# run.
#
# Of the libraries only ODD_TARGETS are built a second time, one for each processor and each C library: the others
# differ from these in nothing but that.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
ODD_TARGETS='aarch64-unknown-linux-musl x86_64-unknown-linux-gnu'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
package=$(echo "$root"/_build/package/erlmcp_native-*.tar)

fail() { echo "package: $*" >&2; exit 1; }

odd="$tmp/one's clöne, elsewhere"
mkdir "$odd"
(cd "$root" && git ls-files -z --cached |
    xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
    tar -c --null -T - | tar -x -C "$odd")
git -C "$odd" init -q -b main
git -C "$odd" add -A
# shellcheck disable=SC2086
"$odd/scripts/package.sh" $ODD_TARGETS
for target in $ODD_TARGETS; do
    cmp "$root/_build/package/prebuilt/$target.so" "$odd/_build/package/prebuilt/$target.so" ||
        fail "the library for $target is another one when it is built elsewhere"
done
cp "$root"/_build/package/prebuilt/* "$odd/_build/package/prebuilt"
(umask 077 && escript "$odd/scripts/package.escript")
cmp "$package" "$odd/_build/package/${package##*/}" || fail "the package is another one when it is made elsewhere"

mkdir "$tmp/package"
escript "$here/package_check.escript" "$package" "$tmp/package"

# With cargo, which shows that the Rust sources are whole, and for the oldest runtime. In the package they are so old
# that cargo would take what it built of the last one.
cd "$tmp/package"
find native -type f -exec touch {} +
CARGO_TARGET_DIR=$root/target/consumer ERLMCP_NATIVE_BUILD=1 rebar3 as otp28 compile
erlc +r28 -o "$tmp" "$here/package_use.erl"
runtimes=$("$root/scripts/package_runtimes.sh")
echo "$runtimes" | while read -r target erl; do
    # As the build does it: what another runtime has loaded is not written over.
    rm priv/erlmcp_native.so
    cp "prebuilt/$target.so" priv/erlmcp_native.so
    "$erl" -noinput -boot no_dot_erlang -kernel logger_level none \
        -pa "$tmp" -pa _build/otp28/lib/erlmcp_native/ebin -run package_use main "$target" </dev/null ||
        fail "the library for $target does not work"
done
ls prebuilt/*-darwin.so | sed 's|prebuilt/\(.*\)\.so|package: \1: linked, not run|'
echo "package: passed"
