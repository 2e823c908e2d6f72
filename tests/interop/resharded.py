"""A resharded checkpoint, loaded by Megatron-Core itself, holds the tensors that the trainer's facts say, optimizer state among them.

Usage: resharded.py CHECKPOINT FACTS [CHECKPOINT FACTS …], with MEGATRON_LM naming a checkout of Megatron-LM. CHECKPOINT is an iter_* folder,
FACTS the facts.json of the checkpoint that it was made from. Nothing of this repository takes part.
"""
import hashlib
import json
import os
import sys
from unittest.mock import MagicMock

import torch

sys.path.insert(0, os.environ["MEGATRON_LM"])
torch.compile = lambda f=None, **_: f if f else (lambda g: g)
torch.cuda.Stream = MagicMock
torch.cuda.current_stream = MagicMock()
torch.cuda.current_device = lambda: "cpu"
for name in ("triton", "triton.language", "triton.language.extra", "triton.language.extra.libdevice"):
    sys.modules[name] = MagicMock(__version__="3.4.0")

from megatron.core import dist_checkpointing  # noqa: E402

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)


def sha256(tensor):
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def wanted(facts):
    """Tensors by key: those of the facts, or, where the optimizer was stored otherwise, what it must become."""
    converted = facts.get("expectedModelSpace")
    own = {key: t for key, t in facts["tensors"].items() if converted is None or not key.split(".")[0].startswith(("optimizer", "chained_"))}
    return {**own, **(converted or {})}


for checkpoint, path in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(path) as file:
        expected = wanted(json.load(file))
    loaded = {key: value for key, value in dist_checkpointing.load_plain_tensors(checkpoint).items() if isinstance(value, torch.Tensor)}
    assert set(loaded) == set(expected), sorted(set(loaded) ^ set(expected))[:5]
    for key, facts in expected.items():
        tensor = loaded[key]
        assert list(tensor.shape) == facts["shape"] and str(tensor.dtype) == f"torch.{facts['dtype']}", key
        assert sha256(tensor) == facts["sha256"], key
    common = dist_checkpointing.load_common_state_dict(checkpoint)
    metadata = dist_checkpointing.load_content_metadata(preloaded_state_dict=common)
    assert metadata["distrib_optim_sharding_type"] == "fully_reshardable", metadata
    optimizer = common["optimizer"]
    for entry in optimizer.values() if 0 in optimizer else [optimizer]:
        assert entry["param_state_sharding_type"] == "fully_reshardable"
        assert all(group["step"] for group in entry["optimizer"]["param_groups"])
    args = common.get("args")
    print(f"{len(expected)} tensors equal in {checkpoint}" + (f", of tp={args.tensor_model_parallel_size} pp={args.pipeline_model_parallel_size}" if args else ""))
