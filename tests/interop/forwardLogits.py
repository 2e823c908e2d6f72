"""Logits of decoders as transformers computes them on the CPU, in float32.

Usage: forwardLogits.py WORK: for each `WORK/NAME` with config.json, weights and `tokens.json` writes `WORK/NAME/logits.npy`, [tokens, vocabulary].
A model whose class comes with its weights only is computed by a class of transformers that computes the same, under that one's names.
"""
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# Architecture: the class, its fields by those of config.json, its names, and the fused tensors that it has apart.
TWINS = {
    "BailingMoeV2ForCausalLM": (
        "Glm4MoeForCausalLM",
        {"attention_bias": "use_qkv_bias", "n_routed_experts": "num_experts", "n_shared_experts": "num_shared_experts"},
        [
            (r"word_embeddings", "embed_tokens"),
            (r"\.attention\.dense\.", ".self_attn.o_proj."),
            (r"\.attention\.query_layernorm\.", ".self_attn.q_norm."),
            (r"\.attention\.key_layernorm\.", ".self_attn.k_norm."),
            (r"\.gate\.expert_bias", ".gate.e_score_correction_bias"),
        ],
        re.compile(r"(.*)\.attention\.query_key_value\.(\w+)"),
    )
}


def twin_of(path, config):
    """A directory with the same model in the form of its twin."""
    architecture, fields, names, fused = TWINS[config["architectures"][0]]
    out = Path(tempfile.mkdtemp())
    own = {**config, **{theirs: config[ours] for theirs, ours in fields.items()}, "architectures": [architecture], "model_type": "glm4_moe"}
    (out / "config.json").write_text(json.dumps(own))
    head, heads, groups = config["head_dim"], config["num_attention_heads"], config["num_key_value_heads"]
    tensors = {}
    for name, tensor in load_file(path / "model.safetensors").items():
        if match := fused.fullmatch(name):
            for part, rows in zip("qkv", tensor.split([heads * head, groups * head, groups * head])):
                tensors[f"{match[1]}.self_attn.{part}_proj.{match[2]}"] = rows.contiguous()
            continue
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out, architecture


for path in sorted(Path(sys.argv[1]).iterdir()):
    config = json.loads((path / "config.json").read_text())
    architecture = config["architectures"][0]
    source, architecture = twin_of(path, config) if architecture in TWINS else (path, architecture)
    model, info = getattr(transformers, architecture).from_pretrained(
        source, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if info["missing_keys"]:
        sys.exit(f"FAILED {path.name}: transformers misses {sorted(info['missing_keys'])[:3]}")
    tokens = torch.tensor([json.loads((path / "tokens.json").read_text())])
    with torch.no_grad():
        numpy.save(path / "logits.npy", model.eval()(input_ids=tokens).logits[0].float().numpy())
