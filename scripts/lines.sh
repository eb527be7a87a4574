#!/bin/sh
# Usage: lines.sh
#
# Fails when a line of this tree's code or prose is longer than 120 characters, and names each that is. What others
# wrote, what is built, data (JSON, YAML, HTML and CSS) and rows of tables in documentation may be as they are.
set -eu
cd "$(dirname "$0")/.."

# Bytes that continue a character of UTF-8 are taken out before counting: no awk needs to know of characters then.
LC_ALL=C find . \( -name .git -o -name _build -o -name target -o -name uplot \) -prune -o -type f \( \
    -name '*.erl' -o -name '*.hrl' -o -name '*.app.src' -o -name '*.config' -o -name '*.config.script' \
    -o -name '*.exs' -o -name '*.rs' -o -name '*.toml' -o -name '*.escript' -o -name '*.sh' -o -path ./.ci/run \
    -o -name Makefile -o -name '*.py' -o -name '*.js' -o -name '*.md' \) -exec awk '
        { gsub(/[\200-\277]/, "") }
        length > 120 && !/^\|.*\|$/ { print FILENAME ":" FNR ": " length " characters, 120 at most"; found = 1 }
        END { exit found }' {} + >&2
