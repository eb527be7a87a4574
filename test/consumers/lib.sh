# shellcheck shell=sh
# What the tests of consumers share; to be sourced, with here and root set.

say() { printf 'consumers: %s\n' "$*"; }

# snapshot <folder>: the work tree as it stands, committed or not.
snapshot() {
    mkdir -p "$1"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard |
        xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
        tar -c --null -T - | tar -x -C "$1")
}

# repository <folder>: makes a repository of it.
repository() {
    git -C "$1" init -q -b main
    git -C "$1" add -A
    [ ! -d "$1/prebuilt" ] || git -C "$1" add -f prebuilt
    git -C "$1" -c user.name=test -c user.email=test@localhost commit -qm snapshot
}

# package <folder> <library>: the work tree as a package has it, with a library for this machine alone.
package() {
    snapshot "$1"
    (cd "$1" && rm -rf .ci bench demo integration test tools)
    mkdir "$1/prebuilt"
    target=$(rustc -vV | sed -n 's/^host: //p')
    cp "$2" "$1/prebuilt/$target.so"
    (cd "$1/prebuilt" && sha256sum ./*.so | sed 's|\./||' >SHA256SUMS)
}

# The folder of mix: of the Elixir on PATH, or of the one that comes with ex_doc.
elixir_folder() {
    if command -v mix >/dev/null; then
        dirname "$(command -v mix)"
        return
    fi
    ex_doc=$("$root/scripts/docs_tools.sh" --quiet) || return
    echo "${ex_doc%/bin/ex_doc}/usr/lib/elixir/bin"
}

# seconds <what is timed> <command>...: runs it, its output kept for when it fails, and prints how long it took.
seconds() {
    what=$1
    shift
    begun=$(date +%s%N)
    "$@" >"$work/output" 2>&1 || { cat "$work/output"; say "$what: failed"; return 1; }
    ended=$(date +%s%N)
    say "$what: $(((ended - begun) / 1000000)) ms"
}
