#!/bin/bash
# The same line on every node. The endpoint is for torchrun's agents; our processes meet beside the target, on a port of rank 0's.
#   NNODES=4 HEAD=node01 RUN_ID=import-7 examples/torchrun.sh Qwen/Qwen3.5-27B /shared/models/mimo
set -euo pipefail
exec torchrun --nnodes "$NNODES" --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint "$HEAD:29400" \
  --rdzv-id "${RUN_ID:?the same on every node, another for every job}" --max-restarts 1 \
  --no-python convert_megatron_mimo import --resume --hf-model "$1" --megatron-path "$2"
