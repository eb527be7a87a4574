#!/bin/sh
# Usage: one_library.sh RELEASE
#
# Fails unless a release has this project's native library once, in its priv folder, and no other.
set -eu
found=$(cd "$1" && find lib/erlmcp_native-*/ -type f \( -name '*.so' -o -name '*.rs' -o -name 'Cargo*' \))
case $found in
    lib/erlmcp_native-*/priv/erlmcp_native.so) ;;
    *) printf 'a release that has of the native library: %s\n' "${found:-nothing}" >&2; exit 1 ;;
esac
