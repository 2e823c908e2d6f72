#!/usr/bin/env bash
# torch, safetensors and transformers (CPU) open what we wrote. Makes its own virtual environment; the product needs no Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.venv-interop
if ! "$venv/bin/python" -c 'import torch, transformers, safetensors, peft, numpy, websockets, xxhash, zstandard' 2>/dev/null; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --retries 0 --disable-pip-version-check torch transformers safetensors peft numpy websockets xxhash zstandard 2> "$venv/pip.log" ||
    { tail -5 "$venv/pip.log" >&2; exit 1; }
fi
work=$(mktemp -d)
# The command line as it is published, which starts faster; below node_modules, where packages that it does not carry are found.
command=node_modules/.cache/interop-$$
trap 'rm -rf "$work" "$command"' EXIT
mkdir -p "$command"
echo '{"type":"module"}' > "$command/package.json"
node -e 'import("./scripts/bundle.ts").then(({ bundleCommand }) => bundleCommand(process.argv[1]))' "$command"
export COMMAND_UNDER_TEST=$PWD/$command/bin.js
convert=(node "$COMMAND_UNDER_TEST")
for model in qwen3.5-vl qwen3.5-vl-moe; do
  mkdir "$work/$model"
  "${convert[@]}" sample --quiet --model "$model" "$work/$model/hf"
  "${convert[@]}" import --quiet --hf-model "$work/$model/hf" --megatron-path "$work/$model/megatron" -c language=tp=2,pp=2 -c images=tp=1
  "${convert[@]}" export --quiet --hf-model "$work/$model/hf" --megatron-path "$work/$model/megatron" --hf-path "$work/$model/exported"
done
"$venv/bin/python" -W ignore tests/interop/interop.py "$work"

# The same weights as torch.save writes them give the same checkpoint.
"$venv/bin/python" -W ignore tests/interop/pickledWeights.py "$work/qwen3.5-vl/hf" "$work/pickled"
for form in single several; do
  "${convert[@]}" import --quiet --hf-model "$work/pickled/$form" --megatron-path "$work/pickled/$form-megatron" -c language=tp=2,pp=2 -c images=tp=1
  for file in "$work/qwen3.5-vl/megatron"/iter_0000000/*.distcp; do cmp "$file" "$work/pickled/$form-megatron/iter_0000000/$(basename "$file")"; done
done

# The example's reader of a weight stream, with the Python package websockets.
export MEGATRON_MIMO_TOKEN=a-token-of-the-interop-test
"${convert[@]}" serve "$work/qwen3.5-vl/megatron" --hf-model "$work/qwen3.5-vl/hf" --json --consumers 3 --gather 0 > "$work/served.json" 2> "$work/serving" &
served=$!
for _ in $(seq 600); do grep -q listening "$work/serving" && break; sleep 0.1; done
"$venv/bin/python" -W ignore tests/interop/served.py "$(grep -om1 'ws://[^"]*' "$work/serving")" "$work/qwen3.5-vl/exported"
wait "$served"
grep -q '"complete": 3' "$work/served.json"

# What decoders say: the forward check and transformers, on toys of many families.
node tests/forward/toys.ts "$work/decoders"
"$venv/bin/python" -W ignore tests/interop/forwardLogits.py "$work/decoders"
node tests/interop/compareLogits.ts "$work/decoders"

# Every architecture that transformers has too, in both of its formats.
models="$work/models"
mkdir "$models"
mapfile -t architectures < <(node -e 'import("./routes/index.ts").then(({ families }) => console.log(families.architectures.join("\n")))')
printf '%s\n' "${architectures[@]}" | "$venv/bin/python" -W ignore tests/interop/absentArchitectures.py tests/interop/absent.json
"$venv/bin/python" -W ignore tests/interop/writeModels.py "$models" "${architectures[@]}"
node tests/interop/convertModels.ts "$models"
"$venv/bin/python" -W ignore tests/interop/compareModels.py "$models"
"$venv/bin/python" -W ignore tests/interop/roundTripLogits.py "$models"

# A LLaVA put together from its parts: values, files of ranks, logits.
parts="$work/assembly"
mkdir "$parts"
"$venv/bin/python" -W ignore tests/interop/assembly.py write "$parts"
llava=(--recipe llava --hf-model "language=$parts/llama" --hf-model "images=$parts/clip")
projected=("${llava[@]}" --hf-model "projector=$parts/projector")
layout=(-c language=tp=2 -c images=tp=2)
"${convert[@]}" import --quiet "${projected[@]}" --megatron-path "$parts/torch_dist" "${layout[@]}"
"${convert[@]}" import --quiet "${projected[@]}" --megatron-path "$parts/tp_rank" "${layout[@]}" --tp-rank-files
"${convert[@]}" import --quiet "${llava[@]}" --hf-model "projector=$parts/mm" --megatron-path "$parts/from_bin" "${layout[@]}"
"${convert[@]}" export --quiet "${projected[@]}" --megatron-path "$parts/tp_rank" --hf-path "$parts/whole" --whole --token images=127
"${convert[@]}" import --quiet --recipe audio --hf-model "language=$parts/llama" --hf-model "audios=$parts/whisper" --hf-model projector=init:5 --megatron-path "$parts/audio" -c language=tp=2 -c audios=tp=2 --tp-rank-files
"$venv/bin/python" -W ignore tests/interop/assembly.py check "$parts"

# Adapters: peft's own, there and back, and what they do to a model.
mkdir "$work/adapters"
"$venv/bin/python" -W ignore tests/interop/adapters.py "$work/adapters"

# Versions of weights, pulled by a receiver of another making.
node tests/rollout/receivers.ts "$venv/bin/python"
mkdir "$work/versions"
"$venv/bin/python" -W ignore tests/interop/versions.py "$work/versions" "${convert[@]}"

# The cache of the Hub, both ways, with the official client.
node tests/interop/hub.ts "$venv/bin/python"

# Checkpoints that a trainer saved on GPUs: exported with a model and without, they compute what the trainer computed.
trained=${TRAINED:-../shared/conformance/gpu-training}
if [ -d "$trained" ]; then
  for case in "$trained"/*/; do
    name=$(basename "$case")
    [ -e "$case/logits.npy" ] || continue
    mkdir -p "$work/trained/$name"
    "${convert[@]}" export --quiet --hf-model "$case/hf" --megatron-path "$case/checkpoint" --hf-path "$work/trained/$name/named"
    "${convert[@]}" export --quiet --megatron-path "$case/checkpoint" --hf-path "$work/trained/$name/described"
  done
  "$venv/bin/python" -W ignore tests/interop/trained.py "$trained" "$work/trained"
  node tests/interop/trainedLogits.ts "$trained"
else
  echo "no checkpoints of trainers: TRAINED names none ($trained)"
fi

# Checkpoints of plain DCP, as torch and Megatron-FSDP write them, hold the weights that they were made from.
"$venv/bin/python" -W ignore tests/interop/plainDcp.py tests/conformance/training "$work/plain"
for form in "$work/plain"/*; do
  case $(basename "$form") in *experts | *sequential) source=lm-moe-fully-reshardable-ep2 ;; *) source=lm-fully-reshardable-dp2 ;; esac
  "${convert[@]}" diff "tests/conformance/training/$source/checkpoint" "$form/iter_0000003" > "$work/plain-diff" || { cat "$work/plain-diff"; exit 1; }
done

# Random states made anew, one for each rank of the new layout.
"${convert[@]}" reshard --quiet tests/conformance/training/lm-moe-fully-reshardable-ep2/checkpoint "$work/reseeded" --tp 2 --pp 2 --rng reseed --seed 77
"$venv/bin/python" -W ignore tests/interop/reseeded.py 77 "$work/reseeded/iter_0000003"

# What `models` says is proven is what was shown just now.
node tests/interop/record.ts "$models" "$trained"

# Megatron-Core's own loader and model, where a checkout of Megatron-LM is named: what was imported, and what a trainer saved.
if [ -n "${MEGATRON_LM:-}" ]; then
  core="$work/core"
  mkdir "$core"
  "${convert[@]}" sample --quiet --model qwen3-moe "$core/hf"
  "${convert[@]}" import --quiet --hf-model "$core/hf" --megatron-path "$core/bridge" --tp 2
  "${convert[@]}" relabel --quiet "$core/bridge" "$core/lm" --to local-spec --to megatron-lm
  saved=tests/conformance/training/lm-moe-fully-reshardable-ep2/checkpoint
  "${convert[@]}" export --quiet --megatron-path "$saved" --hf-path "$core/exported"
  "$venv/bin/python" -W ignore tests/interop/megatronCore.py "$core/lm/iter_0000000" "$core/hf" "$saved/iter_0000003" "$core/exported"
  cases=tests/conformance/training
  "${convert[@]}" reshard --quiet "$cases/lm-dp-reshardable-dp2/checkpoint" "$core/buckets" --tp 2 --pp 2
  "${convert[@]}" reshard --quiet "$cases/lm-moe-dp-reshardable-ep2/checkpoint" "$core/experts" --tp 2 --ep 2
  "${convert[@]}" reshard --quiet "$cases/core014-model-space-dp2/checkpoint" "$core/flat" --tp 2
  "$venv/bin/python" -W ignore tests/interop/resharded.py "$core/buckets/iter_0000003" "$cases/lm-dp-reshardable-dp2/facts.json" \
    "$core/experts/iter_0000003" "$cases/lm-moe-dp-reshardable-ep2/facts.json" "$core/flat/iter_0000003" "$cases/core014-model-space-dp2/facts.json"
fi
