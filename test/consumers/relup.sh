#!/bin/sh
# Usage: relup.sh PACKAGE WORK
#
# Makes a release with this version and one with a next version, of which every module that can be replaced differs,
# and has the first upgrade itself to the second while it runs, go back, and go on again. PACKAGE is a folder with this
# project as users have it, WORK one to build in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$1
work=$2/relup
app=$work/relup_app
next=99.0.0
ebin=_build/default/checkouts/erlmcp_native/ebin

# Makes a folder the next version: its number, and a function more in each module.
make_next() {
    (
        cd "$1"
        version=$(sed -n 's/.*{vsn, "\(.*\)"}.*/\1/p' erlang/erlmcp_native.app.src)
        sed -i "s/{vsn, \"$version\"}/{vsn, \"$next\"}/" erlang/erlmcp_native.app.src
        sed -i "s/define(VERSION, \"$version\")/define(VERSION, \"$next\")/" erlang/native/erlmcp_native.erl
        sed -i "s/^version = \"$version\"/version = \"$next\"/" Cargo.toml
        sed -i "/^name = \"erlmcp-/{n;s/\"$version\"/\"$next\"/;}" Cargo.lock
        find erlang -name '*.erl' ! -name erlmcp_native.erl ! -name erlmcp_native_wait.erl | while read -r file; do
            sed -i "s/^-module(.*/&\n-export(['of the next version'\/0])./" "$file"
            printf "\n-doc false.\n-spec 'of the next version'() -> ok.\n'of the next version'() -> ok.\n" >>"$file"
        done
        rm -rf prebuilt priv/*.so ebin
    )
}

# release <release's version> <folder of the dependency>
release() {
    rm -rf "$app/_checkouts" "$app/_build/default/checkouts"
    mkdir "$app/_checkouts"
    cp -R "$2" "$app/_checkouts/erlmcp_native"
    export CONSUMER_RELEASE="$1"
    (cd "$app" && rebar3 compile)
    if [ "$1" != 1.0.0 ]; then
        escript "$here/../../scripts/appup.escript" "$app"/_build/default/rel/relup_app/lib/erlmcp_native-*/ebin \
            "$app/$ebin" >"$2.appup"
        cp "$2.appup" "$app/$ebin/erlmcp_native.appup"
        (cd "$app" && rebar3 release && rebar3 relup --relname relup_app --relvsn "$1" --upfrom 1.0.0)
    fi
    (cd "$app" && rebar3 tar --relname relup_app --relvsn "$1")
}

rm -rf "$work"
mkdir -p "$work/deployed"
cp -R "$here/relup_app" "$app"
cp -R "$package" "$work/next"
make_next "$work/next"
release 1.0.0 "$package"
tar -xf "$app/_build/default/rel/relup_app/relup_app-1.0.0.tar.gz" -C "$work/deployed"
# Cargo takes libraries of two versions in one folder for each other.
[ -z "${CARGO_TARGET_DIR-}" ] || export CARGO_TARGET_DIR="$CARGO_TARGET_DIR-next"
release 2.0.0 "$work/next"
mkdir "$work/deployed/releases/2.0.0"
cp "$app/_build/default/rel/relup_app/relup_app-2.0.0.tar.gz" "$work/deployed/releases/2.0.0/relup_app.tar.gz"
"$here/one_library.sh" "$work/deployed"
CONSUMER_RELUP=2.0.0 "$work/deployed/bin/relup_app" foreground
# The script named without a version goes on starting the release with which it came.
CONSUMER_RELUP='' CONSUMER_EXPECTED=$next "$work/deployed/bin/relup_app-2.0.0" foreground
