#!/usr/bin/env bash
# Public bug reports, rebuilt small: make each case of DIR (its make.py, or its ready input), then run the command line over all.
set -euo pipefail
cases=$(realpath "${1:?usage: run.sh DIR}")
cd "$(dirname "$0")/../.."
# Some cases need torch or transformers; the interop test has them.
python=$PWD/.venv-interop/bin/python
[ -x "$python" ] || { echo "run \`npm run interop\` once before: it makes the virtual environment" >&2; exit 2; }
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
export PYTHONDONTWRITEBYTECODE=1
make_case() {
  mkdir "$made/$1"
  if [ -d "$cases/$1/input" ]; then cp -R "$cases/$1/input/." "$made/$1/"
  else (cd "$cases/$1" && "$python" -W ignore make.py "$made/$1") > /dev/null 2> "$made/$1.log" || { tail -5 "$made/$1.log" >&2; return 1; }
  fi
}
export -f make_case
export cases made python
find "$cases" -mindepth 1 -maxdepth 1 -type d ! -name '_*' -printf '%f\n' | xargs -P "$(nproc)" -I{} bash -c 'make_case "$1"' _ {}
chmod -R u+w "$made"
node tests/bugReports/main.ts --made "$made"
