#!/bin/sh
# Instructions per operation of the core: on an owner that is near, and on one that is looked up in the table; and
# without the look at thresholds. Needs valgrind.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "instructions: valgrind is needed" >&2; exit 1; }
out=target/instructions
mkdir -p "$out"

build() {
    cargo bench --locked -q -p erlmcp-core --bench instructions --no-run \
        --message-format=json "$@" | sed -n 's/.*"executable":"\([^"]*instructions[^"]*\)".*/\1/p' | tail -n 1
}

# The whole program's instructions for one operation.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$out/callgrind" "$@" 2>&1 >/dev/null |
        sed -n 's/.*Collected : *\([0-9]*\).*/\1/p'
}

per_operation() {
    base=$(count "$1" "$3")
    with=$(count "$1" "$2")
    echo "$(((with - base + 500000) / 1000000))"
}

cp "$(build)" "$out/with"
cp "$(build --features without_crossing)" "$out/without"
printf '%-16s %8s %8s %8s\n' operation with without adds
for operation in check enqueue try_enqueue dequeue check_far enqueue_far try_enqueue_far dequeue_far; do
    base=none
    case $operation in dequeue*) base=enqueue ;; esac
    with=$(per_operation "$out/with" "$operation" "$base")
    without=$(per_operation "$out/without" "$operation" "$base")
    printf '%-16s %8d %8d %8d\n' "$operation" "$with" "$without" "$((with - without))"
done
