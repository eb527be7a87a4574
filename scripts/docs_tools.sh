#!/bin/sh
# Usage: docs_tools.sh [--quiet]
#
# Makes sure of ex_doc, which builds the documentation site, and prints on stdout where it is. The one on PATH is used
# when it is new enough; otherwise it comes with Elixir from Debian's archive, without root, and is kept in the user's
# cache folder for the next time. It runs on the erl that is first on PATH.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=docs_tools
min_ex_doc=0.40
suite=forky
recipe=1 # raise when the packages or their treatment change: the old folder is then left alone
packages='
    elixir elixir-ex-doc elixir-earmark-parser elixir-makeup elixir-makeup-c elixir-makeup-elixir
    elixir-makeup-erlang elixir-nimble-parsec'

remedy="install ex_doc $min_ex_doc or newer and put it on PATH"

# What an ex_doc says of itself, e.g. 0.40.4.
version_of() { "$1" --version 2>/dev/null | sed -n 's/^ExDoc v//p'; }

# True when PATH has one that is new enough.
on_path() {
    command -v ex_doc >/dev/null || return 1
    at_least "$(version_of ex_doc)" $min_ex_doc && return
    remedy="$remedy ($(command -v ex_doc) is too old, or does not run)"
    return 1
}

# True when the private copy is complete, and was made for the place where it lies.
cached() { grep -qsF "'$prefix/" "$prefix/bin/ex_doc"; }

# Unpacks into $tmp/root what is to run from $prefix: no machine code, so it has to be told only where it is, and
# that names of files are UTF-8. (set -e does not hold in here.)
unpack() {
    mkdir -p "$tmp/root/bin" || return
    for deb in "$tmp"/debs/*.deb; do
        dpkg-deb -x "$deb" "$tmp/root" || return
    done
    cat >"$tmp/root/bin/ex_doc" <<END || return
#!/bin/sh
export ELIXIR_ERL_OPTIONS="+fnu \${ELIXIR_ERL_OPTIONS-}"
exec '$prefix/usr/lib/elixir/bin/elixir' '$prefix/usr/bin/ex_doc' "\$@"
END
    chmod +x "$tmp/root/bin/ex_doc"
}

fetch() {
    find_archive
    begin_prefix || return 0
    say "fetching ex_doc and Elixir from Debian $suite, about 8 MB, once, into $prefix"
    private_apt "$archive $suite"
    cd "$tmp/debs"
    # shellcheck disable=SC2086
    apt_get "cannot fetch from the Debian archive" download $packages
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    "$prefix/bin/ex_doc" --version >"$tmp/log" 2>&1 || broken "ex_doc from Debian $suite"
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/ex_doc-r$recipe-$suite-$arch
if on_path; then
    ex_doc=$(command -v ex_doc)
else
    cached || (fetch)
    ex_doc=$prefix/bin/ex_doc
fi
version=$(version_of "$ex_doc")
[ -n "$version" ] || fail "$ex_doc does not run; remove it, or else $remedy"
say "ex_doc: $version, $ex_doc"
printf '%s\n' "$ex_doc"
