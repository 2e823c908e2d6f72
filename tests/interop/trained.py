"""Checkpoints that a trainer saved, exported here, compute in transformers what the trainer's own model computed.

Usage: trained.py CASES EXPORTED: for every `CASES/<name>` with `logits.npy` (float32 [1, n, vocabulary], of the token ids
(37 * i) mod vocabulary), every export of it in `EXPORTED/<name>/*`.
"""
import sys
from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM

# bf16 noise: measured 0.02 and 0.003.
MAX_DIFFERENCE, MEAN_DIFFERENCE = 0.05, 0.01

compared = 0
for case in sorted(Path(sys.argv[1]).iterdir()):
    if not (case / "logits.npy").exists():
        continue
    expected = torch.from_numpy(numpy.load(case / "logits.npy"))
    _, length, vocabulary = expected.shape
    tokens = torch.tensor([[37 * i % vocabulary for i in range(length)]])
    exports = sorted((Path(sys.argv[2]) / case.name).iterdir())
    if not exports:
        sys.exit(f"FAILED {case.name}: nothing was exported")
    for export in exports:
        model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.bfloat16, attn_implementation="eager").eval()
        with torch.no_grad():
            logits = model(tokens).logits.float()
        difference = (logits[:, :, :vocabulary] - expected).abs()
        if difference.max() >= MAX_DIFFERENCE or difference.mean() >= MEAN_DIFFERENCE:
            sys.exit(f"FAILED {case.name}, {export.name}: logits differ by at most {difference.max():.4f}, on average {difference.mean():.4f}")
        compared += 1
if compared == 0:
    sys.exit(f"FAILED no case in {sys.argv[1]}")
print(f"{compared} exports of trained checkpoints agree with the trainer's logits")
