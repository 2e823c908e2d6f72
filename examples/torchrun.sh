#!/bin/bash
# The same line on every node; the rendezvous is torchrun's own for its agents, and a port of rank 0's choosing for us.
#   NNODES=4 HEAD=node01 RUN_ID=verify-7 examples/torchrun.sh /scratch/models/mimo
exec torchrun --nnodes "$NNODES" --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint "$HEAD:29400" --rdzv-id "${RUN_ID:?the same on every node, another for every job}" \
  --no-python convert_megatron_mimo verify --deep "$1" --json
