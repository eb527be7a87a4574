#!/bin/sh
# Usage: cc_tools.sh [--quiet]
#
# Makes sure that there is a linker, as cc, which Rust links with, and prints on
# stdout what to put in front of PATH: a directory, or an empty line when PATH
# has a cc. Otherwise it comes from Debian's archive, of the system's own suite,
# so that what is linked runs with the system's own C library; without root, and
# kept in the user's cache folder for the next time. For toolchain.sh.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=toolchain
recipe=1 # raise when the packages or their treatment change: the old folder is then left alone
remedy='get a C compiler, as cc, which Rust links with, and put it on PATH'

on_path() {
    case $(command -v cc) in "$cache"/* | '') return 1 ;; esac # ours, put there by an outer make
}

# True when the private copy is complete, and was made for the place where it lies.
cached() { grep -qsF "$prefix/run" "$bin/cc"; }

# The linker runs with the system's C library, and all else that it needs is in run. What it links, it takes from the
# prefix. (set -e does not hold in here.)
unpack() {
    mkdir -p "$tmp/root/bin" "$tmp/root/run" || return
    for deb in "$tmp"/cache/archives/*.deb; do
        dpkg-deb -x "$deb" "$tmp/root" || return
    done
    libs=$(echo "$tmp"/root/usr/lib/*-linux-gnu)
    for library in bfd opcodes ctf sframe jansson gmp mpfr mpc isl zstd z; do
        for file in "$libs/lib$library"[.-]*so*; do
            [ ! -e "$file" ] || ln -s "$prefix${file#"$tmp/root"}" "$tmp/root/run/" || return
        done
    done
    cat >"$tmp/root/bin/cc" <<END
#!/bin/sh
PATH='$prefix/usr/bin':\$PATH LD_LIBRARY_PATH='$prefix/run' exec '$prefix/usr/bin/gcc' --sysroot='$prefix' "\$@"
END
    chmod +x "$tmp/root/bin/cc"
}

fetch() {
    find_archive
    begin_prefix || return 0
    say "fetching a linker from Debian $suite, about 60 MB, once, into $prefix"
    private_apt "$archive $suite"
    apt_get "cannot fetch a linker from the Debian archive" \
        install --yes --download-only --no-install-recommends gcc libc6-dev
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    echo 'int main(void) { return 0; }' >"$tmp/try.c"
    { "$bin/cc" -o "$tmp/try" "$tmp/try.c" && "$tmp/try"; } >"$tmp/log" 2>&1 || broken "the linker from Debian $suite"
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
suite=$(sed -n 's/^VERSION_CODENAME="*\([a-z]*\).*/\1/p' /etc/os-release 2>/dev/null) || suite=
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/cc-r$recipe-$suite-$arch
bin=$prefix/bin
if on_path; then
    bin=
elif ! cached; then
    fetch
fi
# shellcheck disable=SC2031
say "linker: $(PATH=$bin${bin:+:}$PATH command -v cc)"
printf '%s\n' "$bin"
