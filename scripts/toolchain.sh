#!/bin/sh
# Usage: toolchain.sh [--quiet]
#
# Makes sure that Rust, Erlang/OTP and rebar3 are there, and prints on stdout
# what to put in front of PATH: one directory, or an empty line when the erl
# and rebar3 already on PATH will do. Otherwise both come from Debian's archive,
# without root, and are kept in the user's cache folder for the next time.
set -eu

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

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
remedy="install Erlang/OTP $min_otp or newer and rebar3 and put them on PATH"

say() { [ -n "$quiet" ] || printf '%s\n' "$*" >&2; }
fail() { printf 'toolchain: %s\n' "$*" >&2; exit 1; }

# at_least 1.95.0 1.95
at_least() {
    [ "$(printf '%s\n' "$2" "${1%%-*}" | sort -V | head -n 1)" = "$2" ]
}

check_rust() {
    min_rust=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
    get_rust="Rust $min_rust or newer (rustc and cargo) is needed: get it with rustup"
    for tool in rustc cargo; do
        command -v $tool >/dev/null || fail "no $tool on PATH; $get_rust"
        version=$($tool --version 2>/dev/null) || fail "$tool does not run; $get_rust"
        version=${version#* }
        at_least "${version%% *}" "$min_rust" || fail "$tool is ${version%% *}; $get_rust"
        say "rust: $tool ${version%% *}, $(command -v $tool)"
    done
}

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

# The Debian archive that the system's own apt uses, as told from those of others
# by the key that signs it or, where none is named, by its address.
mirror() {
    apt-get indextargets --no-release-info --format '$(COMPONENT) $(SOURCESENTRY) $(REPO_URI)' \
        'Created-By: Packages' 2>/dev/null | uniq | while read -r component entry uri; do
        case $component-$uri in main-*security*) continue ;; main-*) ;; *) continue ;; esac
        case $(source_text "${entry%:*}" "${entry##*:}") in
            *debian-archive-keyring*) echo "$uri" ;;
            *[Ss]igned-[Bb]y*) ;;
            *) case $uri in */debian/ | */debian.list/) echo "$uri" ;; esac ;;
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

# apt_get <what it means when this fails> <arguments>
apt_get() {
    trouble=$1
    shift
    apt-get -q -c "$tmp/apt.conf" "$@" >"$tmp/log" 2>&1 ||
        fail "$trouble: $(last_words); or else $remedy"
}

# The first complaint of apt in the log, or the last line of anything else.
last_words() { grep -m 1 '^[EW]:' "$tmp/log" || tail -n 1 "$tmp/log"; }

# apt with a state of its own; all else (proxies, say) is as the system has it.
download() {
    mkdir -p "$tmp/state/lists/partial" "$tmp/cache/archives/partial" "$tmp/debs"
    : >"$tmp/state/status"
    echo "deb [arch=$arch target=Packages signed-by=$keyring] $archive $suite main" >"$tmp/sources.list"
    cat >"$tmp/apt.conf" <<END
Dir::State "$tmp/state";
Dir::State::status "$tmp/state/status";
Dir::Cache "$tmp/cache";
Dir::Etc::SourceList "$tmp/sources.list";
Dir::Etc::SourceParts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    apt_get "cannot reach the Debian archive (no network?)" update
    cd "$tmp/debs"
    # shellcheck disable=SC2086
    apt_get "cannot fetch from the Debian archive" download patchelf $packages
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
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "$remedy"
    case $arch in amd64 | arm64) archive=$(mirror) ;; *) archive= ;; esac
    [ -n "$archive" ] && [ -r "$keyring" ] || fail "$remedy"
    case $prefix in
        *[!A-Za-z0-9/._+@-]* | [!/]*) fail "cannot install into $prefix: set XDG_CACHE_HOME" ;;
    esac
    if [ -e "$prefix" ]; then
        cached || fail "$prefix is damaged: remove it and try again"
        return
    fi

    mkdir -p "$cache"
    find "$cache" -maxdepth 1 -name 'tmp.*' -mtime +0 -exec rm -rf {} + 2>/dev/null || :
    tmp=$(mktemp -d "$cache/tmp.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 1' HUP INT TERM

    say "fetching Erlang/OTP and rebar3 from Debian $suite, about 45 MB, once, into $prefix"
    download
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    # Whoever comes second finds the folder there, and uses it.
    mv -T "$tmp/root" "$prefix" 2>/dev/null || cached || fail "cannot rename $tmp/root to $prefix"
    if ! (PATH=$bin:$PATH && erl -noinput -eval 'ok = application:start(crypto), halt().' &&
        rebar3_version) >"$tmp/log" 2>&1; then
        mv -T "$prefix" "$tmp/broken"
        fail "Erlang/OTP from Debian $suite does not run on this machine: $(last_words)"
    fi
}

quiet=
[ "${1-}" != --quiet ] || quiet=yes
cd "$(dirname "$0")/.."
check_rust

arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
prefix=$cache/otp-r$recipe-$suite-$arch
bin=$prefix/usr/bin
if on_path; then
    bin=
elif ! cached; then
    fetch
fi
PATH=$bin${bin:+:}$PATH
if [ -z "$quiet" ]; then
    version=$(otp_version) || fail "$(command -v erl) does not start"
    say "erlang: OTP $version, $(command -v erl)"
    version=$(rebar3_version) || fail "$(command -v rebar3) does not start"
    say "rebar3: $version, $(command -v rebar3)"
fi
printf '%s\n' "$bin"
