"""What the usual tools take for the same bytes: peers.py save|dcp-save|dcp-load FROM OUT."""
import glob
import os
import sys

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file


def source(directory):
    tensors = {}
    for path in sorted(glob.glob(os.path.join(directory, "*.safetensors"))):
        tensors.update(load_file(path))
    return tensors


what, origin, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
if what == "save":
    for path in sorted(glob.glob(os.path.join(origin, "*.safetensors"))):
        save_file(load_file(path), os.path.join(out, os.path.basename(path)))
elif what == "dcp-save":
    dcp.save(source(origin), checkpoint_id=out, no_dist=True)
elif what == "dcp-load":
    folder = next(iter(sorted(glob.glob(os.path.join(origin, "iter_*")))), origin)
    reader = dcp.FileSystemReader(folder)
    metadata = reader.read_metadata().state_dict_metadata
    tensors = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype)
        for key, entry in metadata.items()
        if isinstance(entry, dcp.metadata.TensorStorageMetadata)
    }
    dcp.load(tensors, storage_reader=reader, no_dist=True)
else:
    sys.exit(f"unknown: {what}")
