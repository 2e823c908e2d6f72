"""What transformers computes with a model before and after it was imported and exported: the same logits, or hidden states, bit for bit.

Usage: roundTripLogits.py WORK, where WORK holds `NAME/hf` and `NAME/exported`; writes `WORK/logits.json`, the names of those that were compared.
Fails if a model cannot be run.
"""
import inspect
import json
import sys
from pathlib import Path

import torch

from classes import class_of

# It warns on machines without it.
torch.backends.nnpack.set_flags(False)
TOKENS = torch.tensor([[(37 * i + 5) % 250 for i in range(12)]])


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def pixels_of(config, takes):
    """A picture of four by four patches, or of the size that the model is made for."""
    patch = config.num_channels * config.patch_size**2
    if "spatial_shapes" in takes:
        return dict(pixel_values=noise(1, 16, patch), pixel_attention_mask=torch.ones(1, 16, dtype=torch.long), spatial_shapes=torch.tensor([[4, 4]]))
    return dict(pixel_values=noise(1, config.num_channels, config.image_size, config.image_size))


def inputs_of(model):
    """Tokens; pixels and sounds where the model is an encoder."""
    takes, config = inspect.signature(model.forward).parameters, model.config
    if "feature_lens" in takes:
        return dict(input_features=noise(config.num_mel_bins, 40), feature_lens=torch.tensor([40]))
    if "grid_thw" in takes:
        return dict(hidden_states=noise(16, config.in_channels * config.temporal_patch_size * config.patch_size**2), grid_thw=torch.tensor([[1, 4, 4]]))
    if "input_ids" not in takes:
        sound = dict(input_features=noise(1, config.num_mel_bins, 2 * config.max_source_positions)) if "input_features" in takes else pixels_of(config, takes)
        return sound | (dict(decoder_input_ids=TOKENS[:, :4]) if "decoder_input_ids" in takes else {})
    pair = hasattr(model, "vision_model") and hasattr(model, "text_model")
    return dict(input_ids=TOKENS) | (pixels_of(config.vision_config, takes) if pair else {})


def tensors_in(output):
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for one in (output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else []) for tensor in tensors_in(one)]


def outputs_of(path, architecture):
    """Logits, or all that an encoder gives."""
    model = class_of(architecture).from_pretrained(path, dtype=torch.float32).eval()
    # What makes speech of the text is a model by itself, without a forward pass of the whole.
    model = getattr(model, "thinker", model)
    with torch.no_grad():
        output = model(**inputs_of(model))
    return [output.logits] if getattr(output, "logits", None) is not None else tensors_in(output)


work = Path(sys.argv[1])
compared, failed = [], []
for path in sorted(work.iterdir()):
    if not (path / "exported").is_dir() or path.name.endswith(".v5"):
        continue
    architecture = json.loads((path / "hf/config.json").read_text())["architectures"][0]
    try:
        before, after = (outputs_of(path / side, architecture) for side in ("hf", "exported"))
    except Exception as error:
        failed.append(f"{path.name} cannot be run: {error}")
        continue
    if not before or not all(bool(tensor.isfinite().all()) for tensor in before):
        failed.append(f"{path.name}: random weights overflow")
    elif len(before) != len(after) or not all(map(torch.equal, before, after)):
        failed.append(f"{path.name}: other values after a round trip")
    else:
        compared.append(path.name)
if failed or not compared:
    sys.exit("FAILED " + ("\n".join(failed) or "nothing was compared"))
(work / "logits.json").write_text(json.dumps(compared))
print(f"interop: the same logits or hidden states before and after a round trip, {len(compared)} models")
