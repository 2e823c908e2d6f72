#!/usr/bin/env bash
# The package as people get it: packed, installed in an empty folder with the oldest and the newest peers, used as a command and as
# a library; then the single-file executable.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED $1" >&2; exit 1; }

round_trip() { # NAME COMMAND…
  local name=$1 dir=$work/$1
  shift
  mkdir -p "$dir"
  "$@" sample --quiet --model qwen3.5-vl "$dir/hf"
  "$@" import --quiet --hf-model "$dir/hf" --megatron-path "$dir/megatron" --component language=tp=2 --component images=tp=1
  "$@" export --quiet --hf-model "$dir/hf" --megatron-path "$dir/megatron" --hf-path "$dir/exported"
  diff -r "$dir/hf" "$dir/exported" || fail "$name: other bytes came back"
  echo "$name: byte-identical, file by file"
}

tarball=$(npm pack --silent --pack-destination "$work")
mkdir "$work/unpacked"
tar -xzf "$work/$tarball" -C "$work/unpacked"
node tests/package/contents.ts "$work/unpacked/package"

# Peers: what npm picks by itself, then the lowest versions that package.json allows.
lowest=$(node -p 'const { peerDependencies: p } = require("./package.json"); ["effect", "zod"].map((n) => `${n}@${p[n].slice(1)}`).join(" ")')
for peers in "" "$lowest"; do
  name=installed${peers:+-with-lowest-peers}
  mkdir "$work/$name"
  (
    cd "$work/$name"
    echo '{ "private": true, "type": "module" }' > package.json
    # shellcheck disable=SC2086 # several words
    npm install --no-fund --no-audit "$work/$tarball" $peers > install.log 2>&1 || { cat install.log; fail "$name: npm install"; }
    if grep -i 'warn' install.log; then fail "$name: npm install warns"; fi
    # Bytes in files: 74.5 MB today, 56 of them effect and 6 zod, whose newest versions are not ours to choose.
    size=$(du -sb node_modules | cut -f1)
    [ "$size" -le 75000000 ] || fail "$name: $size bytes are installed"
    echo "$name: $((size / 1000000)) MB"
    bash "$root/tests/package/asNewUser.sh" "$(command -v node)" "$root/node_modules/typescript/bin/tsc"
    echo "$name: the examples run, and have sound types under four module resolutions and in a browser"
    cp "$root/tests/package/use.mjs" .
  )
  round_trip "$name-command" "$work/$name/node_modules/.bin/convert_megatron_mimo"
  (cd "$work/$name" && node use.mjs "$work/$name-command/hf" "$work/$name")
  # A family as somebody writes it who has the package only.
  cp examples/family.ts "$work/$name"
  (cd "$work/$name" && "$root/node_modules/.bin/tsc" --noEmit --strict --skipLibCheck --module nodenext --target es2024 --types '' family.ts) || fail "$name: types of a family"
done

# The files that Containerfile puts into its image, alone in a folder.
mkdir "$work/image"
while read -r from; do cp -r "$work/unpacked/package/${from#/src/}" "$work/image/"; done < <(sed -n 's/^COPY --from=build \([^ ]*\) .*/\1/p' Containerfile)
round_trip image node "$work/image/bin.js"

if [ "$(uname -s)" = Linux ]; then
  node scripts/executable.ts "$work/convert_megatron_mimo" > /dev/null
  compressed=$(xz -3 -T0 -c "$work/convert_megatron_mimo" | wc -c)
  [ "$compressed" -le 60000000 ] || fail "executable: $compressed bytes compressed"
  echo "executable: $((compressed / 1000000)) MB compressed"
  round_trip executable env PATH=/usr/bin:/bin "$work/convert_megatron_mimo"
fi
echo "package: everything passed"
