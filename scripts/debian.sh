# shellcheck shell=sh disable=SC2154
# Programs from Debian's archive, without root, into the user's cache folder. To be sourced.
#
# The script that does so sets
#   me       its name in messages
#   quiet    empty, or not
#   arch     the machine's architecture, as Debian calls it
#   cache    the folder for all that is fetched
#   prefix   the folder in it that is to be made
#   remedy   what the user can do instead
# and defines
#   cached   true when prefix is whole, and was made for the place where it lies

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { [ -n "$quiet" ] || printf '%s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }

# at_least 1.95.0 1.95
at_least() {
    [ "$(printf '%s\n' "$2" "${1%%-*}" | sort -V | head -n 1)" = "$2" ]
}

# mirror main | security
#
# The Debian archive that the system's own apt uses, as told from those of others
# by the key that signs it or, where none is named, by its address.
mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --no-release-info --format '$(COMPONENT) $(SOURCESENTRY) $(REPO_URI)' \
        'Created-By: Packages' 2>/dev/null | uniq | while read -r component entry uri; do
        case $component-$uri in main-*security*) kind=security ;; main-*) kind=main ;; *) continue ;; esac
        [ "$kind" = "$1" ] || continue
        case $(source_text "${entry%:*}" "${entry##*:}") in
            *debian-archive-keyring*) echo "$uri" ;;
            *[Ss]igned-[Bb]y*) ;;
            *)
                case $uri in
                    */debian/ | */debian.list/ | */debian-security/ | */debian-security.list/) echo "$uri" ;;
                esac
                ;;
        esac
    done | head -n 1
}

# The n-th stanza of a .sources file, the n-th line of any other.
source_text() {
    case $1 in
        *.sources) awk -v n="$2" 'BEGIN { RS = "" } /(^|\n)Types:/ && ++count == n' "$1" ;;
        *) sed -n "$2p" "$1" ;;
    esac
}

# Sets archive. Fails where nothing can be had from Debian.
find_archive() {
    { command -v apt-get && command -v dpkg-deb; } >/dev/null || fail "$remedy"
    case $arch in amd64 | arm64) archive=$(mirror main) ;; *) archive= ;; esac
    { [ -n "$archive" ] && [ -r "$keyring" ]; } || fail "$remedy"
}

# Makes the folder tmp beside prefix, for as long as this shell runs. False when prefix is there already,
# by somebody else. (set -e does not hold in here.)
begin_prefix() {
    case $prefix in
        *[!A-Za-z0-9/._+@-]* | [!/]*) fail "cannot install into $prefix: set XDG_CACHE_HOME" ;;
    esac
    if [ -e "$prefix" ]; then
        cached || fail "$prefix is damaged: remove it and try again"
        return 1
    fi
    mkdir -p "$cache" || exit
    find "$cache" -maxdepth 1 -name 'tmp.*' -mtime +0 -exec rm -rf {} + 2>/dev/null || :
    tmp=$(mktemp -d "$cache/tmp.XXXXXX") || exit
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 1' HUP INT TERM
}

# private_apt "<address> <suite>"...
#
# apt with a state of its own; all else (proxies, say) is as the system has it, but for what it prefers. It knows
# packages for the architectures, with commas between them, if those are set, and sources, if that is.
private_apt() {
    mkdir -p "$tmp/state/lists/partial" "$tmp/cache/archives/partial" "$tmp/debs"
    : >"$tmp/state/status"
    for place in "$@"; do
        echo "deb [arch=${architectures:-$arch} target=Packages signed-by=$keyring] $place main"
        [ -z "${sources-}" ] || echo "deb-src [signed-by=$keyring] $place main"
    done >"$tmp/sources.list"
    cat >"$tmp/apt.conf" <<END
Dir::State "$tmp/state";
Dir::State::status "$tmp/state/status";
Dir::Cache "$tmp/cache";
Dir::Etc::SourceList "$tmp/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
APT::Architectures "${architectures:-$arch}";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    apt_get "cannot reach the Debian archive (no network?)" update
}

# apt_get <what it means when this fails> <arguments>
apt_get() {
    trouble=$1
    shift
    apt-get -q -c "$tmp/apt.conf" "$@" >"$tmp/log" 2>&1 ||
        fail "$trouble: $(last_words); or else $remedy"
}

# The first complaint of apt in the log, or the last line of anything else.
last_words() { grep -m 1 '^[EW]:' "$tmp/log" || tail -n 1 "$tmp/log"; }

# Pretends that the packages are installed, in any version that is asked for: apt then fetches none of them.
leave_out() {
    for package in "$@"; do
        printf 'Package: %s\nStatus: install ok installed\nMaintainer: none\nArchitecture: %s\n' "$package" "$arch"
        printf 'Multi-Arch: foreign\nVersion: 99999\nDescription: left out\n\n'
    done >"$tmp/state/status"
}

# Makes the programs under the given folders of $tmp/root run from $prefix with the libraries, and the loader, that
# lie in there: the host's libc is older than they. patchelf is taken from there too. (set -e does not hold in here.)
bring_libraries() {
    libs=$(echo "$tmp"/root/usr/lib/*-linux-gnu)
    loader=$(echo "$libs"/ld-linux-*)
    patchelf() { "$loader" --library-path "$libs" "$tmp/root/usr/bin/patchelf" "$@"; }
    # A library that has a path of its own ignores that of the program.
    find "$libs" -maxdepth 1 -type f -name '*.so*' | while read -r file; do
        case $(patchelf --print-rpath "$file" 2>/dev/null) in ?*) patchelf --remove-rpath "$file" || exit ;; esac
    done || return
    find "$@" -type f -perm -u+x ! -name patchelf | while read -r file; do
        patchelf --print-interpreter "$file" >/dev/null 2>&1 || continue
        patchelf --set-interpreter "$prefix${loader#"$tmp/root"}" \
            --force-rpath --set-rpath "$prefix${libs#"$tmp/root"}" "$file" || exit
    done
}

# Puts $tmp/root, made for the place prefix, there. Whoever comes second finds the folder there, and uses it.
finish_prefix() {
    mv -T "$tmp/root" "$prefix" 2>/dev/null || cached || fail "cannot rename $tmp/root to $prefix"
}

# broken <what>: it does not run, as the log tells. Leaves no prefix behind.
broken() {
    mv -T "$prefix" "$tmp/broken"
    fail "$1 does not run on this machine: $(last_words)"
}
