#!/bin/sh
# Builds rebar3_app with this project as a git dependency, calls it, makes a release and calls that.
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
echo "consumer: 2 passed, 0 failed"
