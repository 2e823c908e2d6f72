"""A published version, and a copy that deltas were applied to, are directories that transformers loads: every tensor bit for bit, the same logits.

Usage: versions.py WORK COMMAND…; COMMAND is how the converter is started.
"""
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

work, converter = Path(sys.argv[1]), sys.argv[2:]
ids = torch.arange(24).reshape(2, 12)


def convert(*args):
    subprocess.run([*converter, *map(str, args), "--quiet"], check=True)


def check(what, directory, published):
    model, wanted = (AutoModelForCausalLM.from_pretrained(each, dtype=torch.bfloat16).eval() for each in (directory, published))
    state, expected = model.state_dict(), wanted.state_dict()
    assert state.keys() == expected.keys(), what
    for name, tensor in expected.items():
        assert torch.equal(state[name].view(torch.int16), tensor.view(torch.int16)), f"{what}: {name}"
    with torch.no_grad():
        assert torch.equal(model(ids).logits, wanted(ids).logits), what
    print(f"ok  {what}")


torch.manual_seed(3)
config = LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False)
model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
for kind in ("hf", "megatron"):
    root, local = work / f"{kind}-versions", work / f"{kind}-local"
    for step in range(1, 5):
        saved = work / f"{kind}-{step}"
        model.save_pretrained(saved)
        source, extra = saved, []
        if kind == "megatron":
            source, extra = work / f"{kind}-run-{step}", ["--hf-model", saved]
            convert("import", "--hf-model", saved, "--megatron-path", source, "--standard", "--tp", "2")
        convert("publish", source, root, *extra, *(["--encoding", "overwrite"] if step == 3 else []))
        with torch.no_grad():
            for tensor in model.parameters():
                moved = torch.rand_like(tensor, dtype=torch.float32) < 0.02
                tensor.add_((torch.randn_like(tensor) * 0.01).where(moved, torch.zeros_like(tensor)))
    for version in (1, 4, 2):
        convert("pull", root, local, "--to", version)
        check(f"{kind}: a copy at version {version}", local, work / f"{kind}-{version}")
        if version == 1:
            check(f"{kind}: the whole version as it was published", root / "weight_v000001", work / f"{kind}-1")
