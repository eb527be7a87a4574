#!/bin/sh
# Usage: docs.sh EX_DOC
#
# Builds the documentation site into _build/docs, from the modules that rebar3 compiled, the Markdown files and
# docs/site.exs. Fails on each warning of ex_doc, and on each link that leads nowhere.
set -eu
cd "$(dirname "$0")/.."
site=_build/docs
version=$(sed -n 's/.*{vsn, *"\(.*\)"}.*/\1/p' erlang/erlmcp_native.app.src)
rm -rf $site
"$1" erlmcp_native "${version:?}" _build/default/lib/erlmcp_native/ebin \
    --config docs/site.exs --formatter html --output $site --warnings-as-errors --quiet
# Its pages ask for this file, in which a host that keeps several versions names them.
: >$site/docs_config.js
escript scripts/check_links.escript $site
echo "docs: $(pwd)/$site/index.html"
