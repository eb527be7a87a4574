# shellcheck shell=sh disable=SC2154
# Rust from Debian's archive, for a machine that has none, or an older one. To be sourced after debian.sh, by scripts
# that make a prefix with it.

rust_suite=forky
# What the compiler and cargo depend on, and do not use here: a C compiler, since the caller provides a linker; old
# cyphers; databases of passwords.
rust_left_out='
    binutils debconf gcc libc-dev libdb5.3t64 libsasl2-modules-db openssl-provider-legacy'

# fetch_rust <further packages>: what rustc and cargo need, as files in $tmp/cache/archives.
fetch_rust() {
    private_apt "$archive $rust_suite"
    # shellcheck disable=SC2086
    leave_out $rust_left_out
    apt_get "cannot fetch Rust from the Debian archive" \
        install --yes --download-only --no-install-recommends rustc cargo patchelf "$@"
}

# Unpacks them into $tmp/root, to run from $prefix. Of the sources, where those were fetched, only the standard library
# is kept. (set -e does not hold in here.)
unpack_rust() {
    mkdir "$tmp/root" || return
    for deb in "$tmp"/cache/archives/*.deb; do
        case $deb in
            */rust-src_*)
                dpkg-deb --fsys-tarfile "$deb" |
                    tar -x -C "$tmp/root" --wildcards './usr/src/rustc-*/library' ./usr/lib/rustlib
                ;;
            *) dpkg-deb -x "$deb" "$tmp/root" ;;
        esac || return
    done
    bring_libraries "$tmp/root/usr/bin" "$tmp/root/usr/libexec"
}
