"""Every model that writeModels.py wrote came back byte for byte, and both formats of a model are the same checkpoint.

Usage: compareModels.py WORK, where WORK holds `NAME/hf`, `NAME/megatron` and `NAME/exported`; NAME is `A` or `A.v5`.
"""
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

# Tensors without a place in Megatron travel under their own names, which differ between the formats.
CARRIED = "hf_source."


def tensors_of(directory):
    out = {}
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as f:
            out.update({name: f.get_tensor(name) for name in f.keys()})
    return out


def megatron(directory):
    reader = dcp.FileSystemReader(directory)
    state = {
        key: torch.empty(value.size, dtype=value.properties.dtype)
        for key, value in reader.read_metadata().state_dict_metadata.items()
        if isinstance(value, TensorStorageMetadata) and not key.startswith(CARRIED)
    }
    dcp.load(state, storage_reader=reader, no_dist=True)
    return state


def difference(a, b):
    """The first name that only one of them has, or whose tensors differ in dtype, shape or bytes."""
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if x is None or y is None or x.dtype != y.dtype or x.shape != y.shape:
            return name
        if not torch.equal(x.contiguous().view(-1).view(torch.uint8), y.contiguous().view(-1).view(torch.uint8)):
            return name
    return None


work = Path(sys.argv[1])
failed = []
models = sorted(path.name for path in work.iterdir())
for name in models:
    source, exported = work / name / "hf", work / name / "exported"
    if not exported.exists():
        failed.append(f"{name}: not converted")
        continue
    if (found := difference(tensors_of(source), tensors_of(exported))) is not None:
        failed.append(f"{name}: {found} came back changed")
    failed += [f"{name}: {f.name} came back changed" for f in source.iterdir() if f.suffix != ".safetensors" and f.read_bytes() != (exported / f.name).read_bytes()]
    if name.endswith(".v5"):
        sides = [megatron(work / side / "megatron/iter_0000000") for side in (name.removesuffix(".v5"), name)]
        if (found := difference(*sides)) is not None:
            failed.append(f"{name}: {found} differs between the formats")
if failed or not models:
    sys.exit("FAILED " + "\n".join(failed or ["there is no model"]))
print(f"interop: {len(models)} models of transformers there and back")
