#!/usr/bin/env bash
# What somebody does who has just installed the package: the examples, run and type-checked. In the folder where it is installed.
#   asNewUser.sh NODE [TSC]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
node=$1
tsc=${2:-}
package=node_modules/megatron-mimo-bridge
fail() { echo "FAILED $1" >&2; exit 1; }

rm -rf examples
cp -r "$package/examples" examples
for example in pipeline-promises pipeline-effect safetensors/files safetensors/effects safetensors/errors; do
  "$node" "examples/$example.ts" > example.log 2>&1 || { cat example.log; fail "$example"; }
  if grep -i 'warning' example.log; then fail "$example warns"; fi
done
"$node" --import "$here/hub.mjs" examples/safetensors/by-ranges.ts | grep -q '^2 tensors in ' || fail "by-ranges"
"$node" --input-type=module -e 'import("./examples/family.ts")' || fail "family"
PATH=$(dirname "$node"):$PATH bash "$package/examples/round-trip.sh" | tail -1 | grep -q '^byte-identical' || fail "round-trip.sh"

[ -n "$tsc" ] || exit 0
strict=(--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --target es2024)
types=(--types node --typeRoots "$(dirname "$tsc")/../../@types")
for resolution in "nodenext nodenext" "node16 node16" "node20 node16" "esnext bundler" "preserve bundler"; do
  read -r module how <<< "$resolution"
  "$node" "$tsc" "${strict[@]}" "${types[@]}" --module "$module" --moduleResolution "$how" examples/*.ts examples/safetensors/*.ts || fail "types, $resolution"
done
cp "$here/browser.ts" .
"$node" "$tsc" "${strict[@]}" --lib es2024,dom --types "" --module esnext --moduleResolution bundler browser.ts || fail "types of a browser"
