#!/bin/sh
# Builds rebar3_app with this project as a git dependency, calls it, makes a release and calls that. Then
# erlmcp_stand_ins: what erlmcp has around the four modules that this project replaces, run, and read by xref and
# dialyzer.
# What is tested is the work tree as it stands, committed or not.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

mkdir "$tmp/repo"
(cd "$root" && git ls-files -z --cached --others --exclude-standard |
    xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
    tar -c --null -T - | tar -x -C "$tmp/repo")
git -C "$tmp/repo" init -q -b main
git -C "$tmp/repo" add -A
git -C "$tmp/repo" -c user.name=test -c user.email=test@localhost commit -qm snapshot

cp -R "$here/rebar3_app" "$tmp/app"
export ERLMCP_NATIVE_URL="file://$tmp/repo"
# A place of its own, kept for the next run: elsewhere cargo would build the crates anew each time.
export CARGO_TARGET_DIR="$root/target/consumer"

cd "$tmp/app"
rebar3 compile
erl -noshell -noinput -pa _build/default/lib/*/ebin -s consumer main
rebar3 release
"_build/default/rel/consumer/bin/consumer" foreground

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
echo "consumers: 3 passed, 0 failed"
