#!/usr/bin/env bash
# Everything that wants a real GPU, in one command: bash bench/gpu/run.sh OUT [options]; see bench/gpu/README.md and --help.
# Finds Node (20.19 or newer; a pack brings its own) and hands over to run.mjs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
carried="$here/../../carried/node"
for node in "${NODE:-}" "$carried" node; do
  [ -n "$node" ] && command -v "$node" > /dev/null && exec "$node" "$here/run.mjs" "$@"
done
echo "No Node was found: carry node 20.19 or newer (a pack of bench/gpu/pack.mjs has it) and name it as NODE=/path/to/node." >&2
exit 2
