#!/bin/sh
# Usage: mix.sh PACKAGE WORK
#
# mix_app with PACKAGE, a folder with this project as users have it, as its dependency: by path, compiled twice, tested,
# made a release of and run; then by git. WORK is a folder to work in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
package=$1
work=$2/mix
. "$here/lib.sh"

rm -rf "$work"
cp -R "$here/mix_app" "$work"
elixir=$(elixir_folder)
MIX_REBAR3=$(command -v rebar3)
# Nothing of the user's Mix is looked at, and names of files are UTF-8.
export MIX_REBAR3 MIX_HOME="$work/home" ELIXIR_ERL_OPTIONS="+fnu" PATH="$elixir:$PATH"
cd "$work"

export CONSUMER_DEPENDENCY="path $package"
mix deps.get
seconds "mix, by path: compile" mix compile
touch -d '1 hour ago' "$package/priv/erlmcp_native.so"
built=$(date -r "$package/priv/erlmcp_native.so" +%s)
seconds "mix, by path: compile again" mix compile
[ "$(date -r "$package/priv/erlmcp_native.so" +%s)" = "$built" ] || { say "the library was built again"; exit 1; }
MIX_ENV=test mix test
for erts in true false; do
    export CONSUMER_ERTS=$erts
    MIX_ENV=prod mix release --overwrite --quiet
    "$work/_build/prod/rel/mix_app/bin/mix_app" eval 'MixApp.check()'
    "$here/one_library.sh" "$work/_build/prod/rel/mix_app"
done

rm -rf _build deps mix.lock
cp -R "$package" "$work/repository"
repository "$work/repository"
export CONSUMER_DEPENDENCY="git file://$work/repository"
seconds "mix, by git: fetch" mix deps.get
seconds "mix, by git: compile" mix compile
seconds "mix, by git: compile again" mix compile
mix run -e 'MixApp.check()'
