"""Logits of decoders as transformers computes them on the CPU, in float32.

Usage: forwardLogits.py WORK: for each `WORK/NAME` with config.json, weights and `tokens.json` writes `WORK/NAME/logits.npy`, [tokens, vocabulary].
"""
import json
import sys
from pathlib import Path

import numpy
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

for path in sorted(Path(sys.argv[1]).iterdir()):
    architecture = json.loads((path / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, architecture).from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if info["missing_keys"]:
        sys.exit(f"FAILED {path.name}: transformers misses {sorted(info['missing_keys'])[:3]}")
    tokens = torch.tensor([json.loads((path / "tokens.json").read_text())])
    with torch.no_grad():
        numpy.save(path / "logits.npy", model.eval()(input_ids=tokens).logits[0].float().numpy())
