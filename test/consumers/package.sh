#!/bin/sh
# Usage: package.sh TARBALL
#
# Installs a package as users do, where there is no Rust, no C compiler, no git and no network: in a rebar3 project,
# from a registry on loopback; and in a Mix project, from the unpacked package. Compiles, starts and calls it, and
# prints how long that took.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tarball=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
. "$here/lib.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Programs that there are: the runtime's, Elixir's, and what their scripts call.
mkdir "$work/bin"
for program in erl erlc escript rebar3 sh env awk basename cat cp cut date dirname expr grep head id ln ls mkdir mv od \
    readlink rm sed sort stty tail tr uname; do
    ln -s "$(command -v $program)" "$work/bin/$program"
done
elixir=$(elixir_folder)
cat >"$work/inside.sh" <<'END'
set -eu
. "$here/lib.sh"
for program in cargo rustc cc gcc clang ld git curl; do
    ! command -v $program || { say "$program is there"; exit 1; }
done

cd "$work/rebar3_alone"
rebar3 compile >/dev/null
seconds "rebar3, a project alone: compile again" rebar3 compile
cd "$work/rebar3_app"
seconds "rebar3: fetch and compile" rebar3 compile
seconds "rebar3: compile again" rebar3 compile
erl -noinput -pa _build/default/lib/*/ebin -s consumer main
rebar3 release >/dev/null
_build/default/rel/consumer/bin/consumer foreground

for dockerfile in "$root"/examples/docker/Dockerfile.*; do
    seconds "${dockerfile##*/}, its steps by hand" "$here/dockerfile.sh" "$dockerfile" "$work/rebar3_app" consumer \
        "$work/${dockerfile##*.}"
    "$work/${dockerfile##*.}/_build/prod/rel/consumer/bin/consumer" foreground
done

cd "$work/mix_alone"
mix compile >/dev/null
seconds "mix, a project alone: compile again" mix compile
cd "$work/mix_app"
mix deps.get >/dev/null
seconds "mix: compile" mix compile
seconds "mix: compile again" mix compile
mix run -e 'MixApp.check()'
END

# The projects, and the same without us.
cp -R "$here/rebar3_app" "$work/rebar3_app"
rm "$work/rebar3_app/rebar.config.script"
version=$(basename "$tarball" .tar)
mkdir "$work/rebar3_app/config"
mv "$work/rebar3_app/sys.config" "$work/rebar3_app/vm.args" "$work/rebar3_app/config"
sed "s/^{deps, .*/{deps, [{erlmcp_native, \"${version#erlmcp_native-}\"}]}./; s|\"sys.config|\"config/sys.config|
    s|\"vm.args|\"config/vm.args|" "$here/rebar3_app/rebar.config" >"$work/rebar3_app/rebar.config"
mkdir -p "$work/rebar3_alone/src" "$work/mix_alone" "$work/package"
sed 's/, erlmcp_native//' "$here/rebar3_app/src/consumer.app.src" >"$work/rebar3_alone/src/consumer.app.src"
cp "$here/rebar3_app/src/consumer.erl" "$work/rebar3_alone/src"
cp -R "$here/mix_app" "$work/mix_app"
cp -R "$here/mix_app/lib" "$work/mix_alone"
sed 's/deps: .*/deps: [],/; /dependency do/,/^  end/d' "$here/mix_app/mix.exs" >"$work/mix_alone/mix.exs"
tar -xOf "$tarball" contents.tar.gz | tar -xz -C "$work/package"

# Without a network but loopback, where that is allowed.
loopback='import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))' # SIOCSIFFLAGS, IFF_UP
set -- sh -c "python3 -I -B -c '$loopback' && exec \"\$@\"" sh
if unshare -rn "$@" true 2>/dev/null; then
    set -- unshare -rn "$@"
else
    say "a namespace without a network is not allowed here: what is fetched would not be noticed"
    set --
fi
"$@" env -i PATH="$work/bin:$elixir" HOME="$work/home" LANG=C.UTF-8 here="$here" root="$root" work="$work" \
    CONSUMER_DEPENDENCY="path $work/package" MIX_REBAR3="$work/bin/rebar3" MIX_HOME="$work/mix" \
    ELIXIR_ERL_OPTIONS=+fnu \
    escript "$here/registry.escript" "$tarball" "$work/home/.config/rebar3" sh "$work/inside.sh"
