"""Writes a Hugging Face directory's weights with torch.save, in the forms that models are found in: one file; several with an index, of
which one is from before archives; shared storages, offsets, transposed views, parameters and tensors with attributes."""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file

source, target = sys.argv[1:3]
weights = {}
for name in sorted(os.listdir(source)):
    if name.endswith(".safetensors"):
        weights.update(load_file(os.path.join(source, name)))


def directory(name):
    path = os.path.join(target, name)
    os.makedirs(path)
    for file in os.listdir(source):
        if ".safetensors" not in file:
            shutil.copy(os.path.join(source, file), path)
    return path


torch.save(weights, os.path.join(directory("single"), "pytorch_model.bin"))

names = list(weights)
half = len(names) // 2
bf16 = [name for name in names[:half] if weights[name].dtype == torch.bfloat16]
flat = torch.cat([weights[name].flatten() for name in bf16])
first, at = {name: weights[name] for name in names[:half] if name not in bf16}, 0
for name in bf16:
    first[name] = flat[at:at + weights[name].numel()].view(weights[name].shape)
    at += weights[name].numel()
second = {}
for name in names[half:]:
    tensor = weights[name]
    if tensor.dim() == 2:
        tensor = tensor.t().contiguous().t()
    elif tensor.is_floating_point():
        tensor = torch.nn.Parameter(tensor, requires_grad=False)
        tensor.sequence_parallel = True
    second[name] = tensor
path = directory("several")
files = {"pytorch_model-00001-of-00002.bin": first, "pytorch_model-00002-of-00002.bin": second}
torch.save(first, os.path.join(path, "pytorch_model-00001-of-00002.bin"))
torch.save(second, os.path.join(path, "pytorch_model-00002-of-00002.bin"), _use_new_zipfile_serialization=False)
with open(os.path.join(path, "pytorch_model.bin.index.json"), "w") as index:
    json.dump({"metadata": {"total_size": 0}, "weight_map": {name: file for file, state in files.items() for name in state}}, index)
