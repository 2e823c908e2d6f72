"""Tensors of published models, by their sizes, as transformers builds them (on no device): count, parameters, and a hash of all names and shapes.

Usage: publishedTensors.py tests/routes/published.json, which is a list of configs by the name of a model; its "expected" is written anew.
"""
import hashlib
import json
import re
import sys
from pathlib import Path

import torch
import transformers


def published(name, shape, model_type):
    """The tensors that a published checkpoint has for one in memory: experts are stored one by one, or under their former names."""
    if model_type.startswith("granitemoe"):
        for new, old in ((".experts.gate_up_proj", ".input_linear.weight"), (".experts.down_proj", ".output_linear.weight"), (".router.weight", ".router.layer.weight")):
            name = name.replace(".block_sparse_moe" + new, ".block_sparse_moe" + old)
        return [(name, shape)]
    if (packed := re.fullmatch(r"(.*\.experts)\.(gate_up|down)_proj", name)) is None:
        return [(name, shape)]
    count, rows, columns = shape
    parts = [("gate", rows // 2), ("up", rows // 2)] if packed[2] == "gate_up" else [("down", rows)]
    return [(f"{packed[1]}.{e}.{part}_proj.weight", [own, columns]) for e in range(count) for part, own in parts]


def expected(config):
    fields = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
    own = transformers.AutoConfig.for_model(config["model_type"], **fields)
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(own)
    state = {n: list(t.shape) for n, t in model.state_dict().items() if not (own.tie_word_embeddings and n == "lm_head.weight")}
    tensors = [t for n, shape in state.items() for t in published(n, shape, config["model_type"])]
    lines = sorted(f"{n} {'x'.join(map(str, shape))}" for n, shape in tensors)
    parameters = sum(torch.Size(shape).numel() for _, shape in tensors)
    return {"tensors": len(tensors), "parameters": parameters, "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


path = Path(sys.argv[1])
models = json.loads(path.read_text())
for name, model in models.items():
    model["expected"] = expected(model["config"])
    print(f"{name}: {model['expected']['parameters'] / 1e9:.2f} billion parameters")
path.write_text("{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(model)}" for name, model in models.items()) + "\n}\n")
