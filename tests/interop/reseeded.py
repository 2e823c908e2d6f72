"""Random states that were made anew are those of the real generators after seeding, and can be set.

Usage: reseeded.py SEED CHECKPOINT [CHECKPOINT …]. CHECKPOINT is an iter_* folder. A rank seeds Python, NumPy, torch and its GPU with
SEED + 100 · pp, and the tracker's generators from that and its tensor-parallel rank (Megatron-LM: training/initialize.py,
core/tensor_parallel/random.py); a state of the GPU is seed and offset.
"""
import io
import random
import struct
import sys
from pathlib import Path

import numpy
import torch
from torch.distributed.checkpoint import FileSystemReader

seed, checked = int(sys.argv[1]), 0
for folder in map(Path, sys.argv[2:]):
    for index, place in FileSystemReader(folder).read_metadata().storage_data.items():
        if not index.fqn.startswith("rng_state"):
            continue
        with open(folder / place.relative_path, "rb") as file:
            file.seek(place.offset)
            [states] = torch.load(io.BytesIO(file.read(place.length)), weights_only=False)
        pp, tp, *_ = map(int, index.fqn.split("/shard_")[1].split("_")[0].split("."))
        base = seed + 100 * pp
        [state] = states
        random.seed(base)
        numpy.random.seed(base)
        torch.manual_seed(base)
        expected = [random.random(), numpy.random.random(), numpy.random.standard_normal(), torch.rand(3).tolist(), torch.randn(20).tolist()]
        random.setstate(state["random_rng_state"])
        numpy.random.set_state(state["np_rng_state"])
        torch.set_rng_state(state["torch_rng_state"])
        assert [random.random(), numpy.random.random(), numpy.random.standard_normal(), torch.rand(3).tolist(), torch.randn(20).tolist()] == expected, index
        tracked = state["rng_tracker_states"]
        assert list(tracked) == ["data-parallel-rng", "model-parallel-rng", "expert-parallel-rng"], index
        gpu = {name: struct.unpack("<QQ", value.numpy().tobytes()) for name, value in {**tracked, "cuda": state["cuda_rng_state"]}.items()}
        assert gpu["cuda"] == gpu["data-parallel-rng"] == (base, 0) and gpu["model-parallel-rng"] == (base + 2718 + tp, 0), index
        checked += 1
assert checked > 0
print(f"{checked} reseeded random states are those of Python, NumPy and torch")
