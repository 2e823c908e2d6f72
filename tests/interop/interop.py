"""Interoperability with the real programs: torch, safetensors and transformers open what was written here.

Usage: interop.py WORK, where WORK holds for each sample S a source `S/hf`, a checkpoint `S/megatron` and an export `S/exported`
(tests/interop/run.sh makes them). The mapping between the two sides is written out here a second time, on purpose, in torch.
"""
import json
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

passed = 0


def check(condition, what):
    global passed
    if not condition:
        sys.exit(f"FAILED {what}")
    passed += 1


def load_hf(directory):
    tensors = {}
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as f:
            for name in f.keys():
                tensors[name] = f.get_tensor(name)
    return tensors


def load_megatron(directory):
    """Every tensor of the checkpoint, through torch.distributed.checkpoint's own planner and reader."""
    reader = dcp.FileSystemReader(directory)
    metadata = reader.read_metadata()
    state = {
        key: torch.full(value.size, -7, dtype=value.properties.dtype)
        for key, value in metadata.state_dict_metadata.items()
        if isinstance(value, TensorStorageMetadata)
    }
    dcp.load(state, storage_reader=reader, no_dist=True)
    return state, metadata


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def interleave(q, k, v, heads, groups, dim, gate):
    """Per group: its query heads, (their gates,) its key, its value."""
    rest = q.shape[1:]
    n = heads // groups
    k, v = k.view(groups, dim, *rest), v.view(groups, dim, *rest)
    if gate:
        q = q.view(groups, n, 2, dim, *rest)
        parts = [q[:, :, 0].reshape(groups, n * dim, *rest), q[:, :, 1].reshape(groups, n * dim, *rest), k, v]
    else:
        parts = [q.view(groups, n * dim, *rest), k, v]
    return torch.cat(parts, dim=1).reshape(-1, *rest)


def expected(hf, config):
    """What the checkpoint must hold, from the source."""
    text, vision = config["text_config"], config["vision_config"]
    out = {}
    lm = "language_model."

    def attention(key, name):
        out[f"{key}self_attention.linear_qkv.layer_norm_weight"] = hf[f"{name}input_layernorm.weight"]
        q, k, v = (hf[f"{name}self_attn.{r}_proj.weight"] for r in "qkv")
        out[f"{key}self_attention.linear_qkv.weight"] = interleave(
            q, k, v, text["num_attention_heads"], text["num_key_value_heads"], text["head_dim"], True)
        out[f"{key}self_attention.linear_proj.weight"] = hf[f"{name}self_attn.o_proj.weight"]
        for r in "qk":
            out[f"{key}self_attention.{r}_layernorm.weight"] = hf[f"{name}self_attn.{r}_norm.weight"]

    def mlp(key, name):
        norm = hf[f"{name}post_attention_layernorm.weight"]
        if "num_experts" not in text:
            out[f"{key}mlp.linear_fc1.layer_norm_weight"] = norm
            out[f"{key}mlp.linear_fc1.weight"] = torch.cat([hf[f"{name}mlp.{r}_proj.weight"] for r in ("gate", "up")])
            out[f"{key}mlp.linear_fc2.weight"] = hf[f"{name}mlp.down_proj.weight"]
            return
        out[f"{key}pre_mlp_layernorm.weight"] = norm
        out[f"{key}mlp.router.weight"] = hf[f"{name}mlp.gate.weight"]
        out[f"{key}mlp.experts.experts.linear_fc1.weight"] = hf[f"{name}mlp.experts.gate_up_proj"]
        out[f"{key}mlp.experts.experts.linear_fc2.weight"] = hf[f"{name}mlp.experts.down_proj"]
        shared = f"{name}mlp.shared_expert."
        out[f"{key}mlp.shared_experts.linear_fc1.weight"] = torch.cat([hf[f"{shared}{r}_proj.weight"] for r in ("gate", "up")])
        out[f"{key}mlp.shared_experts.linear_fc2.weight"] = hf[f"{shared}down_proj.weight"]
        out[f"{key}mlp.shared_experts.gate_weight"] = hf[f"{name}mlp.shared_expert_gate.weight"]

    out[f"{lm}embedding.word_embeddings.weight"] = hf["model.language_model.embed_tokens.weight"]
    out[f"{lm}decoder.final_layernorm.weight"] = hf["model.language_model.norm.weight"]
    if not config["tie_word_embeddings"]:
        out[f"{lm}output_layer.weight"] = hf["lm_head.weight"]
    qk = text["linear_num_key_heads"] * text["linear_key_head_dim"]
    v = text["linear_num_value_heads"] * text["linear_value_head_dim"]
    for i, kind in enumerate(text["layer_types"]):
        key, name = f"{lm}decoder.layers.{i}.", f"model.language_model.layers.{i}."
        mlp(key, name)
        if kind == "full_attention":
            attention(key, name)
            continue
        gdn, to = f"{name}linear_attn.", f"{key}self_attention."
        out[f"{to}in_proj.layer_norm_weight"] = hf[f"{name}input_layernorm.weight"]
        for part, piece in zip(("query", "key", "value"), hf[f"{gdn}in_proj_qkv.weight"].split([qk, qk, v])):
            out[f"{to}in_proj.weight.{part}"] = piece
        for part, r in (("z", "z"), ("beta", "b"), ("alpha", "a")):
            out[f"{to}in_proj.weight.{part}"] = hf[f"{gdn}in_proj_{r}.weight"]
        for part, piece in zip(("query", "key", "value"), hf[f"{gdn}conv1d.weight"].split([qk, qk, v])):
            out[f"{to}conv1d.weight.{part}"] = piece
        out[f"{to}A_log"], out[f"{to}dt_bias"] = hf[f"{gdn}A_log"], hf[f"{gdn}dt_bias"]
        out[f"{to}out_norm.weight"] = hf[f"{gdn}norm.weight"] - 1
        out[f"{to}out_proj.weight"] = hf[f"{gdn}out_proj.weight"]
        out[f"hf_source.{gdn}norm.weight"] = hf[f"{gdn}norm.weight"]
    mtp = f"{lm}mtp.layers.0."
    for part, r in (("enorm", "pre_fc_norm_embedding"), ("hnorm", "pre_fc_norm_hidden"), ("eh_proj", "fc"), ("final_layernorm", "norm")):
        out[f"{mtp}{part}.weight"] = hf[f"mtp.{r}.weight"]
    attention(f"{mtp}transformer_layer.", "mtp.layers.0.")
    mlp(f"{mtp}transformer_layer.", "mtp.layers.0.")

    vis = "modality_submodules.images.encoders.qwen_visual."
    heads = vision["num_heads"]
    for part in ("weight", "bias"):
        out[f"{vis}patch_embed.proj.{part}"] = hf[f"model.visual.patch_embed.proj.{part}"]
        out[f"{vis}merger.patch_norm.{part}"] = hf[f"model.visual.merger.norm.{part}"]
        for fc in ("linear_fc1", "linear_fc2"):
            out[f"{vis}merger.{fc}.{part}"] = hf[f"model.visual.merger.{fc}.{part}"]
        blocks = [f"model.visual.blocks.{i}." for i in range(vision["depth"])]
        layers = f"{vis}decoder.layers."
        qkv = [hf[f"{b}attn.qkv.{part}"].chunk(3) for b in blocks]
        out[f"{layers}self_attention.linear_qkv.{part}"] = torch.stack(
            [interleave(*x, heads, heads, vision["hidden_size"] // heads, False) for x in qkv])
        for to, r in (("self_attention.linear_proj.", "attn.proj."), ("mlp.linear_fc1.", "mlp.linear_fc1."), ("mlp.linear_fc2.", "mlp.linear_fc2."),
                      ("self_attention.linear_qkv.layer_norm_", "norm1."), ("mlp.linear_fc1.layer_norm_", "norm2.")):
            out[f"{layers}{to}{part}"] = torch.stack([hf[f"{b}{r}{part}"] for b in blocks])
    out[f"{vis}pos_embed.weight"] = hf["model.visual.pos_embed.weight"]
    return out


def logits(directory):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(directory, torch_dtype=torch.float32)
    with torch.no_grad():
        return model(input_ids=torch.arange(1, 33).view(1, -1)).logits


def run(sample):
    hf = load_hf(sample / "hf")
    config = json.loads((sample / "hf/config.json").read_text())
    iteration = sample / "megatron/iter_0000000"
    state, metadata = load_megatron(iteration)
    want = expected(hf, config)
    check(set(want) == set(state), f"{sample.name}: keys {sorted(set(want) ^ set(state))[:5]}")
    for key, tensor in want.items():
        check(same(tensor, state[key]), f"{sample.name}: {key}")
    for file in (iteration / "train_state.pt", iteration / "common.pt", sample / "megatron/latest_train_state.pt"):
        check(isinstance(torch.load(file, weights_only=True), dict), f"{file} opens with weights_only")
    check("common_state/shard_0_1" in metadata.state_dict_metadata, "common state entry")
    exported = load_hf(sample / "exported")
    check(set(exported) == set(hf), f"{sample.name}: exported names")
    for name, tensor in hf.items():
        check(same(tensor, exported[name]), f"{sample.name}: exported {name}")
    check(torch.equal(logits(sample / "hf"), logits(sample / "exported")), f"{sample.name}: logits")


for sample in sorted(Path(sys.argv[1]).iterdir()):
    run(sample)
print(f"interop: {passed} passed, 0 failed")
