#!/usr/bin/env bash
# Node 22, 24 and 26: `npm ci` and `npm install` in a clean clone, and the packed package installed and used; nothing warns.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
npm=$(readlink -f "$(command -v npm)")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED $1" >&2; exit 1; }
quietly() { # NAME COMMAND…: no warning, no deprecation
  local name=$1
  shift
  "$@" > "$work/log" 2>&1 || { cat "$work/log"; fail "$name"; }
  if grep -iE 'warn|deprecat' "$work/log"; then fail "$name warns"; fi
  echo "$name: no warning"
}

tarball=$work/$(npm pack --silent --pack-destination "$work")
git clone -q . "$work/clone"
for version in 22 24 26; do
  mkdir "$work/node$version"
  (cd "$work/node$version" && echo '{ "private": true, "allowScripts": { "node": true } }' > package.json && npm install --silent --no-fund --no-audit "node@$version")
  node=$work/node$version/node_modules/.bin/node
  (
    export PATH=$work/node$version/node_modules/.bin:$PATH
    cd "$work/clone"
    git clean -qfdx
    quietly "Node $version: npm ci" "$node" "$npm" ci --no-fund --no-audit
    quietly "Node $version: npm install" "$node" "$npm" install --no-fund --no-audit
    [ -z "$(git status --porcelain)" ] || fail "Node $version: npm install changes the lock file"
    mkdir "$work/user$version"
    cd "$work/user$version"
    echo '{ "private": true, "type": "module" }' > package.json
    quietly "Node $version: npm install of the package" "$node" "$npm" install --no-fund --no-audit "$tarball"
    bash "$root/tests/package/asNewUser.sh" "$node"
    echo "Node $version: the examples run"
  )
done
