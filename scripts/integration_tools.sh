#!/bin/sh
# Usage: integration_tools.sh
#
# Makes sure of what the integration tests run besides Erlang: Prometheus with promtool, a later Prometheus, Chromium
# with chromedriver, and a Python virtual environment with integration/requirements.txt. Prints on stdout where they
# are, as assignments for the shell. The programs on PATH are used when they are new enough; otherwise they come
# from Debian's archive, from the release that this system is, without root, and are kept in the user's cache
# folder for the next time. The later Prometheus comes from a release to come, with the libc of that.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

me=integration_tools
quiet=
min_prometheus=2.40
next_prometheus=3.5
next_suite=forky
min_chromium=123
min_python=3.10
recipe=1 # raise when the packages or their treatment change: the old folders are then left alone

# Not fetched, though others depend on it: libc, which must be the system's own, as its loader is; and what is
# never run or loaded here.
left_out='
    adduser ca-certificates dbus debconf default-dbus-session-bus dpkg fonts-glyphicons-halflings
    javascript-common libc6 libgl1-mesa-dri libjs-bootstrap libjs-bootstrap4 libjs-d3
    libjs-eonasdan-bootstrap-datetimepicker libjs-jquery libjs-jquery-hotkeys libjs-moment
    libjs-moment-timezone libjs-mustache libjs-popper.js libjs-rickshaw media-types perl shared-mime-info
    x11-utils xdg-desktop-portal-backend xdg-utils'

# What a program says of itself, e.g. 2.42.0.
version_of() { "$1" --version 2>/dev/null | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*/\1/p'; }

# True when PATH has the program, new enough: on_path prometheus 2.40
on_path() {
    command -v "$1" >/dev/null || return 1
    at_least "$(version_of "$1")" "$2" && return
    remedy="$remedy ($(command -v "$1") is too old, or does not run)"
    return 1
}

# assign PROMETHEUS prometheus: prints the assignment, and tells what is used.
assign() {
    version=
    path=$(command -v "$2") && version=$(version_of "$path")
    [ -n "$version" ] || fail "$path does not run; remove it, or else $remedy"
    say "${path##*/}: $version, $path"
    printf "%s='%s'\n" "$1" "$(printf '%s' "$path" | sed "s/'/'\\\\''/g")"
}

# True when the programs are there, made for the place where they lie.
cached() { grep -qsF "exec '$prefix/" "$bin/${programs##*/}"; }

# wrap <program>: a script of that name for $prefix/<program>, with its libraries and fonts.
wrap() {
    script=$tmp/root/wrapped/${1##*/}
    mkdir -p "$tmp/root/wrapped" && {
        echo '#!/bin/sh'
        [ -z "$libraries" ] || echo "export LD_LIBRARY_PATH='$libraries'"
        [ ! -e "$tmp/root/fonts.conf" ] || echo "export FONTCONFIG_FILE='$prefix/fonts.conf'"
        echo "exec '$prefix/$1' \"\$@\""
    } >"$script" && chmod +x "$script"
}

# library_path <folder> <its name later>: where in it the shared libraries will be.
library_path() {
    find "$1/lib" "$1/usr/lib" -path '*-linux-gnu/*' -name 'lib*.so*' -printf '%h\n' 2>/dev/null | sort -u |
        sed "s|^$1|$2|" | paste -s -d : -
}

# Only the fonts that were fetched with it: pages look alike everywhere.
write_fonts_conf() {
    cat >"$tmp/root/fonts.conf" <<END
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>$prefix/usr/share/fonts</dir>
  <cachedir>$prefix/fonts.cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
END
}

# Unpacks into $tmp/root what is to run from $prefix. (set -e does not hold in here.)
unpack() {
    mkdir "$tmp/root" || return
    for deb in "$tmp"/cache/archives/*.deb; do
        dpkg-deb -x "$deb" "$tmp/root" || return
    done
    find "$tmp/root" -type f -perm /6000 -exec chmod ug-s {} + || return
    [ ! -d "$tmp/root/usr/share/fonts" ] || write_fonts_conf || return
    libraries=$(library_path "$tmp/root" "$prefix") || return
    for program in $programs; do
        wrap "$program" || return
    done
}

# fetch <packages>
fetch() {
    find_archive
    begin_prefix || return 0
    say "fetching $name from Debian $suite, up to $megabytes MB, once, into $prefix"
    security=$(mirror security)
    private_apt "$archive $suite" ${security:+"$security $suite-security"}
    # shellcheck disable=SC2086
    leave_out $left_out
    apt_get "cannot fetch $name from the Debian archive" \
        install --yes --download-only --no-install-recommends "$@"
    unpack >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    for program in $programs; do
        "$bin/${program##*/}" --version >"$tmp/log" 2>&1 || broken "${program##*/} of Debian $suite"
    done
}

# provide <name> <megabytes at most> "<programs, from the root folder>" <packages>: sets prefix, and bin, where they
# are.
provide() {
    name=$1 megabytes=$2 programs=$3
    shift 3
    prefix=$cache/$name-r$recipe-$suite-$arch
    bin=$prefix/wrapped
    cached || (fetch "$@")
}

provide_prometheus() {
    remedy="install Prometheus $min_prometheus or newer with promtool and put them on PATH"
    bin=
    { on_path prometheus $min_prometheus && on_path promtool $min_prometheus; } ||
        provide prometheus 30 'usr/bin/prometheus usr/bin/promtool' prometheus
    assign PROMETHEUS "${bin:+$bin/}prometheus"
    assign PROMTOOL "${bin:+$bin/}promtool"
}

# Makes $tmp/root, of programs that are to run from $prefix with the loader and the libc beside them.
# (set -e does not hold in here.)
unpack_next() {
    mkdir -p "$tmp/root/wrapped" || return
    for deb in "$tmp"/debs/*.deb; do
        dpkg-deb -x "$deb" "$tmp/root" || return
    done
    libs=$(echo "$tmp"/root/usr/lib/*-linux-gnu)
    loader=$(echo "$libs"/ld-linux-*)
    for program in $programs; do
        script=$tmp/root/wrapped/${program##*/}
        printf "#!/bin/sh\nexec '%s' --library-path '%s' '%s' \"\$@\"\n" "$prefix${loader#"$tmp/root"}" \
            "$prefix${libs#"$tmp/root"}" "$prefix/$program" >"$script" && chmod +x "$script" || return
    done
}

fetch_next() {
    find_archive
    begin_prefix || return 0
    say "fetching prometheus from Debian $next_suite, about 40 MB, once, into $prefix"
    private_apt "$archive $next_suite"
    cd "$tmp/debs"
    apt_get "cannot fetch prometheus from the Debian archive" download libc6 prometheus promtool
    unpack_next >"$tmp/log" 2>&1 || fail "cannot unpack into $tmp (disk full?): $(last_words)"
    finish_prefix
    for program in $programs; do
        "$bin/${program##*/}" --version >"$tmp/log" 2>&1 || broken "${program##*/} of Debian $next_suite"
    done
}

# A Prometheus of the next major version: it parses and evaluates by rules of its own.
provide_prometheus_next() {
    remedy="install Prometheus $next_prometheus or newer with promtool and put them on PATH"
    bin=
    if ! { on_path prometheus $next_prometheus && on_path promtool $next_prometheus; }; then
        prefix=$cache/prometheus-r$recipe-$next_suite-$arch bin=$prefix/wrapped
        programs='usr/bin/prometheus usr/bin/promtool'
        cached || (fetch_next)
    fi
    assign PROMETHEUS_NEXT "${bin:+$bin/}prometheus"
    assign PROMTOOL_NEXT "${bin:+$bin/}promtool"
}

# A chromedriver drives the Chromium that it was made with.
provide_chromium() {
    remedy="install Chromium $min_chromium or newer with its chromedriver and put them on PATH"
    bin=
    { on_path chromium $min_chromium && on_path chromedriver "$(version_of chromium | cut -d . -f 1)" &&
        at_least "$(version_of chromium)" "$(version_of chromedriver | cut -d . -f 1)"; } ||
        provide chromium 220 'usr/lib/chromium/chromium usr/bin/chromedriver' \
            chromium chromium-driver fonts-dejavu-core
    assign CHROMIUM "${bin:+$bin/}chromium"
    assign CHROMEDRIVER "${bin:+$bin/}chromedriver"
}

# Makes in $tmp/root what is to be used as $prefix: with pip of its own or, if base is set, with that of Debian.
# (set -e does not hold in here.)
make_venv() {
    libraries=
    requirements='--no-input -r integration/requirements.txt'
    # shellcheck disable=SC2086
    if [ -n "$base" ]; then
        libraries=$(library_path "$base" "$base") &&
            "$python" -I -m venv --without-pip "$tmp/root" &&
            "$python" -I "$(echo "$base"/usr/share/python-wheels/pip-*.whl)/pip" \
                --python "$tmp/root/bin/python" install $requirements
    else
        "$python" -I -m venv "$tmp/root" && "$tmp/root/bin/python" -I -m pip install $requirements
    fi || return
    grep -rIlF "$tmp/root" "$tmp/root/bin" "$tmp/root/pyvenv.cfg" | xargs sed -i "s|$tmp/root|$prefix|g"
    wrap bin/python
}

fetch_venv() {
    begin_prefix || return 0
    say "fetching the Python packages of integration/requirements.txt, about 20 MB, once, into $prefix"
    make_venv >"$tmp/log" 2>&1 || fail "cannot make a virtual environment with the packages of" \
        "integration/requirements.txt: $(grep -m 1 '^ERROR' "$tmp/log" || last_words);" \
        "pip must reach an index that has them, see PIP_INDEX_URL"
    finish_prefix
    "$bin/python" -I -c 'import opentelemetry.proto.metrics.v1.metrics_pb2, pytest, selenium' >"$tmp/log" 2>&1 ||
        broken "what integration/requirements.txt asks for"
}

provide_python() {
    remedy="install Python $min_python or newer with its venv module and put python3 on PATH"
    python=$(command -v python3) || python=
    base=
    if ! { on_path python3 $min_python && python3 -I -c 'import ensurepip, venv' 2>/dev/null; }; then
        provide python 30 usr/bin/python3 python3 python3-pip-whl
        python=$bin/python3 base=$prefix
    fi
    made_of=$({ "$python" -I -c 'import sys; print(sys.version, sys.base_prefix)' &&
        cat integration/requirements.txt; } | sha256sum | cut -c 1-12)
    prefix=$cache/venv-r$recipe-$arch-$made_of
    bin=$prefix/wrapped programs=bin/python
    cached || (fetch_venv)
    assign PYTHON "$bin/python"
}

arch=$(dpkg --print-architecture 2>/dev/null) || arch=$(uname -m)
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null) || suite=
cache=${XDG_CACHE_HOME:-$HOME/.cache}/erlmcp_native
provide_prometheus
provide_prometheus_next
provide_chromium
provide_python
