"""What transformers computes with a model before and after it was imported and exported: the same logits, bit for bit.

Usage: roundTripLogits.py WORK, where WORK holds `NAME/hf` and `NAME/exported`; writes `WORK/logits.json`, the names of those that were compared.
Models that cannot be run with tokens alone are named on standard output.
"""
import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TOKENS = torch.tensor([[(37 * i + 5) % 250 for i in range(12)]])


def logits_of(path, architecture):
    model = getattr(transformers, architecture).from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


work = Path(sys.argv[1])
compared, failed, unable = [], [], []
for path in sorted(work.iterdir()):
    name = path.name
    if not (path / "exported").is_dir() or name.endswith(".v5"):
        continue
    architecture = json.loads((path / "hf/config.json").read_text())["architectures"][0]
    try:
        before = logits_of(path / "hf", architecture)
    except Exception as error:
        unable.append(f"{name} ({type(error).__name__})")
        continue
    if not bool(before.isfinite().all()):
        unable.append(f"{name} (random weights overflow)")
    elif torch.equal(before, logits_of(path / "exported", architecture)):
        compared.append(name)
    else:
        failed.append(name)
if failed or not compared:
    sys.exit(f"FAILED other logits after a round trip: {', '.join(failed) or 'nothing was compared'}")
(work / "logits.json").write_text(json.dumps(compared))
print(f"interop: the same logits before and after a round trip, {len(compared)} models" + (f"; not run with tokens alone: {', '.join(unable)}" if unable else ""))
