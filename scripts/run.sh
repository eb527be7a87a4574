#!/bin/sh
# Usage: run.sh [--input] PROFILE MODULE: runs MODULE:main() on what rebar3 built in PROFILE, and exits with its
# status. It reads standard input only with --input.
set -eu
input=-noinput
[ "$1" != --input ] || { input=-noshell; shift; }
root=$(cd "$(dirname "$0")/.." && pwd)
lib=$root/_build/$1/lib/erlmcp_native
module=$2
export ERL_LIBS="$root/_build/$1/lib${ERL_LIBS:+:$ERL_LIBS}" # dependencies, if rebar3 fetched any
set --
for folder in $(cd "$lib" && find . -name '*.beam' | sed 's|/[^/]*$||' | sort -u); do
    set -- "$@" -pa "$lib/$folder"
done
# The demo is distributed for a while, and needs no epmd that would stay behind. A scheduler that finds nothing to do
# yields the core over and over before it sleeps: on a machine with much else to do, the start takes five times as long.
case $lib in */_build/demo/*)
    set -- "$@" +sbwt none +sbwtdcpu none +sbwtdio none -epmd_module erlmcp_native_demo_epmd
esac
exec erl -noshell "$input" +Bd +P 4194304 "$@" -s "$module" main
