#!/usr/bin/env bash
# The main job from the command line: Hugging Face → MegatronMIMO → Hugging Face, and the proof that nothing changed.
#   npm run example:cli
set -euo pipefail
cd "$(dirname "$0")/.."
# In the repository the sources; in the package what was built of them.
program=src/cli/bin.ts
[ -e "$program" ] || program=dist/bin.js
convert=(node "$program")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${convert[@]}" sample --model qwen3.5-vl "$work/hf"
"${convert[@]}" import --hf-model "$work/hf" --megatron-path "$work/megatron" --component language=tp=2 --component images=tp=1
"${convert[@]}" verify --hf-model "$work/hf" --megatron-path "$work/megatron"
"${convert[@]}" export --hf-model "$work/hf" --megatron-path "$work/megatron" --hf-path "$work/exported"
diff -r "$work/hf" "$work/exported" && echo "byte-identical, file by file"
