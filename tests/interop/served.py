"""The example's reader takes what `serve` streams, bit for bit what the Hugging Face directory has: argv: url, directory."""
import os
import pathlib
import sys

import torch
from safetensors import safe_open

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
from weights_reader import weights  # noqa: E402

url, directory = sys.argv[1:]
token = os.environ["MEGATRON_MIMO_TOKEN"]
stored = {}
for file in sorted(pathlib.Path(directory).glob("*.safetensors")):
    with safe_open(str(file), "pt") as opened:
        stored.update((name, opened.get_tensor(name)) for name in opened.keys())

as_torch = lambda array, like: torch.from_numpy(array.copy()).view(like.dtype)
whole = {name: as_torch(array, stored[name]) for name, array in weights(url, token)}
assert whole.keys() == stored.keys(), whole.keys() ^ stored.keys()
assert all(torch.equal(whole[name], stored[name]) for name in stored)

parts = [dict(weights(url, token, shard={"tp": 2, "rank": rank})) for rank in range(2)]
for name in stored:
    if name.endswith(("mlp.gate_proj.weight", "mlp.up_proj.weight")):
        assert torch.equal(torch.cat([as_torch(part[name], stored[name]) for part in parts]), stored[name]), name
    if name.endswith("mlp.down_proj.weight"):
        assert torch.equal(torch.cat([as_torch(part[name], stored[name]) for part in parts], 1), stored[name]), name
print(f"served: {len(whole)} tensors as a whole and in two parts, read by websockets and numpy")
