#!/bin/sh
# Usage: run.sh PROFILE MODULE: runs MODULE:main() on what rebar3 built in PROFILE, and exits with its status.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lib=$root/_build/$1/lib/erlmcp_native
exec erl -noshell -noinput +Bd +P 4194304 -pa "$lib/ebin" "$lib/$1" -s "$2" main
