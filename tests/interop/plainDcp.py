"""Checkpoints of plain torch DCP, written by torch itself from DTensors of several processes (gloo): the forms of Megatron-FSDP and of torch FSDP.

Usage: plainDcp.py CASES OUT writes `OUT/<form>/iter_0000003` for every form below, with the weights of the torch_dist checkpoint that it names
in `CASES` (tests/conformance/training). With MEGATRON_LM naming a checkout of Megatron-LM, its own code says where uneven pieces lie.
"""
import argparse
import json
import os
import re
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

COLUMNS = re.compile(r"(word_embeddings|output_layer|linear_qkv|linear_fc1)\.(weight|bias)(\d*)$")
ROWS = re.compile(r"(linear_proj|linear_fc2)\.weight\d*$")

# Name → source, gate and up apart, experts grouped in one module, wrappers in front, tensor-parallel ranks of four, optimizer state.
FORMS = {
    "fsdp-dtensor": dict(source="lm-fully-reshardable-dp2", apart=True, grouped=False, wrapper="module.", tp=2, optimizer=True),
    "fsdp-dtensor-experts": dict(source="lm-moe-fully-reshardable-ep2", apart=True, grouped=True, wrapper="module.module.", tp=1, optimizer=False),
    "fsdp-dtensor-sequential": dict(source="lm-moe-fully-reshardable-ep2", apart=True, grouped=False, wrapper="module.", tp=2, optimizer=False),
    "torch-dcp": dict(source="lm-fully-reshardable-dp2", apart=False, grouped=False, wrapper="", tp=1, optimizer=False),
}


def stored(folder):
    """Global tensors of a torch_dist checkpoint, weights alone."""
    metadata = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
    weights = {key: torch.empty(entry.size, dtype=entry.properties.dtype) for key, entry in metadata.items() if hasattr(entry, "size") and not key.startswith("optimizer")}
    dcp.load(weights, storage_reader=dcp.FileSystemReader(folder), no_dist=True)
    return weights


def in_memory(weights, grouped):
    """The names that the modules have: layers and experts one by one, norms of the local layer specification as modules."""
    out = {}
    for key, tensor in weights.items():
        layers = [(key, tensor)]
        if key.startswith("decoder.layers."):
            layers = [(key.replace("layers.", f"layers.{i}.", 1), own) for i, own in enumerate(tensor)]
        for name, own in layers:
            expert = re.match(r"(.*\.experts)\.experts\.(linear_fc[12])\.weight$", name)
            if expert:
                for e, one in enumerate(own):
                    out[f"{expert[1]}.{expert[2]}.weight{e}" if grouped else f"{expert[1]}.local_experts.{e}.{expert[2]}.weight"] = one
            else:
                name = name.replace("self_attention.linear_qkv.layer_norm_", "input_layernorm.").replace("mlp.linear_fc1.layer_norm_", "pre_mlp_layernorm.")
                out[name] = own
    return out


def arguments(case):
    """What the run's arguments say, but for what JSON does not have."""
    facts = json.loads((case / "facts.json").read_text())
    values = facts["objects"]["common_state/shard_0_1"]["content"][0]["args"]["$namespace"]
    return argparse.Namespace(**{name: value for name, value in values.items() if value is None or isinstance(value, (bool, int, float, str))})


def distributed(tensor, mesh, axis):
    """Rows among data-parallel ranks, inside the slice that the tensor-parallel rank has of the axis, as Megatron-FSDP cuts."""
    dp, tp = mesh.get_local_rank("dp"), mesh.get_local_rank("tp")
    (ranks, slices), own = mesh.shape, tensor
    if axis is not None:
        own = own.chunk(slices, axis)[tp]
    pieces = own.chunk(ranks, 0)
    own = pieces[dp] if dp < len(pieces) else own[:0]
    rows = _StridedShard(0, split_factor=slices) if axis == 0 and slices > 1 else Shard(0)
    placements = [rows, Replicate() if axis is None else Shard(axis)]
    return DTensor.from_local(own.contiguous(), mesh, placements, run_check=False, shape=tensor.shape, stride=tensor.contiguous().stride())


def write(rank, world, cases, out, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    for form, facts in FORMS.items():
        case = cases / facts["source"]
        mesh = init_device_mesh("cpu", (world // facts["tp"], facts["tp"]), mesh_dim_names=("dp", "tp"))
        names = in_memory(stored(str(case / "checkpoint" / "iter_0000003")), facts["grouped"])
        args = arguments(case)
        args.tensor_model_parallel_size, args.pipeline_model_parallel_size, args.ckpt_format = facts["tp"], 1, form.split("-")[0] + "_" + form.split("-")[1]
        model = {}
        for name, tensor in names.items():
            axis = 0 if COLUMNS.search(name) else 1 if ROWS.search(name) else None
            parts = zip(("_w", "_v"), tensor.chunk(2)) if facts["apart"] and ".linear_fc1." in name else [("", tensor)]
            for half, part in parts:
                model[facts["wrapper"] + name + half] = distributed(part, mesh, axis)
        state = {"args": args, "checkpoint_version": 3.0, "iteration": 3, "model": model, "num_floating_point_operations_so_far": 0}
        if facts["optimizer"]:
            state["optimizer"] = {"state": {name: {"exp_avg": tensor.float()} for name, tensor in model.items()}, "param_to_group_meta": {name: {"lr": 0.01} for name in model}}
            state["rng_state"] = {"(0, 0)": [{"random_rng_state": (3, (1, 2), None), "torch_rng_state": torch.get_rng_state()[:16]}]}
        if "MEGATRON_LM" in os.environ:
            sys.path.insert(0, os.environ["MEGATRON_LM"] + "/megatron/core/distributed/fsdp/src")
            from megatron_fsdp.uneven_dtensor import preprocess_state_dict_for_uneven_dtensor
            preprocess_state_dict_for_uneven_dtensor(state)
        folder = out / form / "iter_0000003"
        folder.mkdir(parents=True, exist_ok=True)
        dcp.save(state, storage_writer=dcp.FileSystemWriter(str(folder)))
    dist.destroy_process_group()


if __name__ == "__main__":
    cases, out = Path(sys.argv[1]), Path(sys.argv[2])
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(write, args=(4, cases, out, port), nprocs=4)
    print(f"{len(FORMS)} checkpoints of plain DCP written by torch {torch.__version__}")
