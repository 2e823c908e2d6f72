#!/usr/bin/env bash
# The tests of arithmetic and of the forward check on native TensorFlow.js. The package downloads its library and its addon from a host
# that is not everywhere to be had; here it is built with the library that pip offers (850 MB, kept in TFJS_NODE_CACHE).
# Ends with 0 and says so where it cannot be built.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${TFJS_NODE_CACHE:-$HOME/.cache/megatron-mimo-bridge/tfjs-node}
package=$cache/node_modules/@tensorflow/tfjs-node
binding=$package/lib/napi-v8/tfjs_binding.node

# The interop tests' own, where it is there: it knows where packages come from.
python=.venv-interop/bin/python
[ -x "$python" ] || python=python3

build() {
  mkdir -p "$cache"
  npm install --prefix "$cache" --ignore-scripts --no-fund --no-audit --loglevel=error @tensorflow/tfjs-node@4.22.0 || return 1
  ls "$cache"/wheel/*.whl > /dev/null 2>&1 || "$python" -m pip download --quiet --retries 0 --disable-pip-version-check --no-deps --dest "$cache/wheel" tensorflow-cpu==2.21.0 || return 1
  mkdir -p "$package/deps/lib"
  "$python" - "$cache/wheel" "$package/deps" <<'PYTHON' || return 1
import pathlib, sys, zipfile
wheel, deps = next(pathlib.Path(sys.argv[1]).glob("*.whl")), pathlib.Path(sys.argv[2])
libraries = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name in libraries:
            (deps / "lib" / name.rsplit("/", 1)[1]).write_bytes(archive.read(name))
        elif name.startswith("tensorflow/include/") and not name.endswith("/"):
            target = deps / "include" / name.removeprefix("tensorflow/include/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
PYTHON
  ln -sf libtensorflow_cc.so.2 "$package/deps/lib/libtensorflow.so"
  ln -sf libtensorflow_cc.so.2 "$package/deps/lib/libtensorflow.so.2"
  ln -sf libtensorflow_framework.so.2 "$package/deps/lib/libtensorflow_framework.so"
  # Headers of a system's Node serve every version: the addon speaks N-API.
  local headers=()
  [ -d /usr/include/node ] && headers=(--nodedir=/usr)
  (cd "$package" && npx --yes node-gyp@11 rebuild "${headers[@]}" -- -Dmodule_name=tfjs_binding -Dmodule_path="$package/lib/napi-v8" -Dnapi_build_version=8) > "$cache/build.log" 2>&1
}

if [ ! -e "$binding" ] && ! { build && [ -e "$binding" ]; }; then
  echo "native tfjs cannot be built here ($cache/build.log): not tested"
  exit 0
fi
link=node_modules/@tensorflow/tfjs-node
ln -sfn "$package" "$link"
trap 'rm -f "$link"' EXIT
TFJS=native npx vitest run tests/arithmetic tests/forward
