#!/bin/sh
# Usage: umbrella.sh PACKAGE WORK
#
# The umbrella with PACKAGE, a folder with this project as users have it, among its _checkouts, and then as a copy
# among its own applications: found, compiled with overridden options, tested and covered. WORK is a folder to work in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$1
app=$2/umbrella

tested() {
    rebar3 ct
    rebar3 cover --verbose >covered
    grep -q shop covered
    # What is overridden in the project's configuration is what the dependency is compiled with.
    erl -noinput -eval '
        [Beam] = filelib:wildcard("_build/test/*/erlmcp_native/ebin/erlmcp_queue_limits.beam"),
        {ok, {_, [{compile_info, Info}]}} = beam_lib:chunks(Beam, [compile_info]),
        true = lists:member({d, overridden}, proplists:get_value(options, Info)),
        halt().'
}

rm -rf "$app"
cp -R "$here/umbrella" "$app"
mkdir "$app/_checkouts"
cp -R "$package" "$app/_checkouts/erlmcp_native"
cd "$app"
tested

# A copy among the applications has its sources in erlang/, where rebar3 looks only if it is told so.
rm -rf _build
mv _checkouts/erlmcp_native apps
rm -r _checkouts
sed -i 's/^{deps, .*/{src_dirs, ["src", "erlang"]}./' rebar.config
tested
