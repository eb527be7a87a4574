#!/bin/sh
# Builds rebar3_app with this project as a git dependency, calls it, makes a release and calls that. Then, with what a
# package is, mix_app, the umbrella, and a release that upgrades itself while it runs; each has a script of its own,
# which says more. Then erlmcp_stand_ins: what erlmcp has around the four modules that this project replaces, run, and
# read by xref and dialyzer.
# What is tested is the work tree as it stands, committed or not.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

. "$here/lib.sh"

snapshot "$tmp/repo"
repository "$tmp/repo"

cp -R "$here/rebar3_app" "$tmp/app"
export ERLMCP_NATIVE_URL="file://$tmp/repo"
# A place of its own, kept for the next run: elsewhere cargo would build the crates anew each time.
export CARGO_TARGET_DIR="$root/target/consumer"

cd "$tmp/app"
rebar3 compile
erl -noshell -noinput -pa _build/default/lib/*/ebin -s consumer main
rebar3 release
"_build/default/rel/consumer/bin/consumer" foreground
"$here/one_library.sh" _build/default/rel/consumer
# What a relup of the release is made of.
(cd _build/default/rel/consumer/lib/erlmcp_native-*/ebin && [ -e erlmcp_native.appup ])

# The others have a package with the library that was just built.
package "$tmp/package" _build/default/lib/erlmcp_native/priv/erlmcp_native.so
"$here/mix.sh" "$tmp/package" "$tmp"
"$here/umbrella.sh" "$tmp/package" "$tmp"
"$here/relup.sh" "$tmp/package" "$tmp"

# These find this project where it is compiled, whose path stays the same: so dialyzer need not read it again next time.
cd "$root"
rebar3 compile
cp -R "$here/erlmcp_stand_ins" "$tmp/stand_ins"
cd "$tmp/stand_ins"
export ERL_LIBS="$root/_build/default/lib${ERL_LIBS:+:$ERL_LIBS}" ERLMCP_STAND_INS_PLT="$root/target/consumer"
rebar3 compile
erl -noshell -noinput -pa _build/default/lib/*/ebin -s erlmcp_stand_ins main
rebar3 xref
rebar3 dialyzer
echo "consumers: 6 passed, 0 failed"
