#!/bin/sh
# Usage: toolchain.sh [--quiet]
#
# Makes sure that Rust, a linker, Erlang/OTP and rebar3 are there, and prints on
# stdout what to put in front of PATH: directories with colons between them, or
# an empty line when what is already on PATH will do. What is not comes from
# Debian's archive, without root, and is kept in the user's cache folder for the
# next time; erl and rebar3 come together.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=toolchain
min_otp=28
suite=forky
recipe=1 # raise when the packages or their treatment change: the old folder is then left alone
packages='
    erlang-base erlang-dev erlang-asn1 erlang-common-test erlang-crypto erlang-dialyzer erlang-edoc
    erlang-eunit erlang-inets erlang-mnesia erlang-os-mon erlang-parsetools erlang-public-key
    erlang-reltool erlang-runtime-tools erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl
    erlang-cowboy erlang-cowlib erlang-proper erlang-proper-dev erlang-ranch rebar3
    libatomic1 libc6 libcap2 libgcc-s1 libsctp1 libssl3t64 libstdc++6 libsystemd0 libtinfo6 libzstd1 zlib1g
    libjs-jquery libjs-jquery-tablesorter'

remedy="install Erlang/OTP $min_otp or newer and rebar3 and put them on PATH"

# Prints e.g. "28.1, erts 16.1", with the erl that is first on PATH.
otp_version() {
    ERL_CRASH_DUMP=/dev/null erl -noinput -boot no_dot_erlang -eval '
        Release = erlang:system_info(otp_release),
        File = filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"]),
        Version = case file:read_file(File) of
            {ok, Text} -> hd(binary:split(Text, <<"\n">>));
            _ -> Release
        end,
        io:format("~s, erts ~s~n", [Version, erlang:system_info(version)]),
        halt().' 2>/dev/null
}

rebar3_version() {
    (cd / && rebar3 version </dev/null 2>/dev/null) | sed -n 's/^rebar \([^ ]*\).*/\1/p' | grep .
}

# True when PATH, as it is, has an erl that is new enough, and a rebar3.
on_path() {
    erl=$(command -v erl) || return 1
    case $erl in "$cache"/*) return 1 ;; esac # ours, put there by an outer make
    otp=$(otp_version) || otp=0
    if ! [ "${otp%%[!0-9]*}" -ge "$min_otp" ] 2>/dev/null; then
        remedy="$remedy ($erl is too old)"
        return 1
    fi
    command -v rebar3 >/dev/null
}

# True when the private copy is complete, and was made for the place where it lies.
cached() {
    [ -x "$bin/rebar3" ] && grep -qsF "ROOTDIR=$prefix/usr/lib/erlang" "$bin/erl"
}

# Unpacks into $tmp/root what is to run from $prefix. (set -e does not hold in here.)
unpack() {
    mkdir "$tmp/root" "$tmp/patchelf" || return
    for deb in "$tmp"/debs/*.deb; do
        case $deb in */patchelf_*) into=patchelf ;; *) into=root ;; esac
        dpkg-deb -x "$deb" "$tmp/$into" || return
    done

    # The host's libc is older than these programs: they need their own, and its loader.
    # A real RPATH (not RUNPATH) also serves the libraries that they load, such as NIFs.
    libs=$(echo "$tmp"/root/usr/lib/*-linux-gnu)
    loader=$(echo "$libs"/ld-linux-*)
    patchelf() { "$loader" --library-path "$libs" "$tmp/patchelf/usr/bin/patchelf" "$@"; }
    find "$tmp/root/usr/lib/erlang" -type f -perm -u+x | while read -r file; do
        patchelf --print-interpreter "$file" >/dev/null 2>&1 || continue
        patchelf --set-interpreter "$prefix${loader#"$tmp/root"}" \
            --force-rpath --set-rpath "$prefix${libs#"$tmp/root"}" "$file" || exit
    done || return
    grep -rIl /usr/lib/erlang "$tmp/root/usr/lib/erlang" |
        xargs sed -i "s|/usr/lib/erlang|$prefix/usr/lib/erlang|g"
}

fetch() {
    find_archive
    begin_prefix || return 0
    say "fetching Erlang/OTP and rebar3 from Debian $suite, about 45 MB, once, into $prefix"
    private_apt "$archive $suite"
    cd "$tmp/debs"
    # shellcheck disable=SC2086
    apt_get "cannot fetch from the Debian archive" download patchelf $packages
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    # shellcheck disable=SC2030
    if ! (PATH=$bin:$PATH && erl -noinput -eval 'ok = application:start(crypto), halt().' &&
        rebar3_version) >"$tmp/log" 2>&1; then
        broken "Erlang/OTP from Debian $suite"
    fi
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
others=
for other in rust cc; do
    found=$("scripts/${other}_tools.sh" ${quiet:+--quiet})
    others=$others$found${found:+:}
done

arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/otp-r$recipe-$suite-$arch
bin=$prefix/usr/bin
if on_path; then
    bin=
elif ! cached; then
    fetch
fi
# shellcheck disable=SC2031
PATH=$bin${bin:+:}$PATH
if [ -z "$quiet" ]; then
    version=$(otp_version) || fail "$(command -v erl) does not start"
    say "erlang: OTP $version, $(command -v erl)"
    version=$(rebar3_version) || fail "$(command -v rebar3) does not start"
    say "rebar3: $version, $(command -v rebar3)"
fi
all=$others$bin
printf '%s\n' "${all%:}"
