"""Decoders and vision-language models of transformers that are not among the architectures which are known here.

Usage: absentArchitectures.py RECORD [--update] < known architectures, one a line. RECORD is the JSON that docs/models.md lists: the release
and the names. Of that release the record must be right; what a later one has besides is printed. Models of an encoder with a decoder, and
those that fill masks, are no decoders.
"""
import json
import sys
from pathlib import Path

from classes import transformers
from transformers.models.auto import modeling_auto as auto


def classes(mapping):
    """By model type; a type may have several."""
    return {model: own if isinstance(own, (list, tuple)) else (own,) for model, own in getattr(auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").items()}


other = classes("SEQ_TO_SEQ_CAUSAL_LM").keys() | classes("MASKED_LM").keys()
offered = {name for mapping in ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM") for model, own in classes(mapping).items() if model not in other for name in own}
known = set(sys.stdin.read().split())
path = Path(sys.argv[1])
found = {"transformers": transformers.__version__, "known": len(offered & known), "absent": sorted(offered - known)}
if "--update" in sys.argv[2:]:
    path.write_text(json.dumps(found, indent=1) + "\n")
recorded = json.loads(path.read_text())
if recorded["transformers"] == found["transformers"]:
    if recorded != found:
        sys.exit(f"FAILED {path} does not say what is absent: absentArchitectures.py {path} --update, then `npm run docs`")
elif (new := sorted(offered - known - set(recorded["absent"]))):
    print(f"interop: transformers {found['transformers']} has new architectures: {', '.join(new)}")
print(f"interop: {found['known']} of {len(offered)} decoders and vision-language models of transformers {found['transformers']} are known here")
