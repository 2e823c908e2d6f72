"""Fields of the trainer's configuration by section, read without importing it: folders of Megatron-Bridge and Megatron-LM in, JSON out."""

import ast
import json
import sys
from pathlib import Path

bridge, megatron_lm = (Path(argument) for argument in sys.argv[1:])


def classes_of(paths):
    """Every class with the names of its bases, as they are imported, and its own fields."""
    found = {}
    for path in paths:
        tree = ast.parse(path.read_text())
        names = {a.asname: a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names if a.asname}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                bases = [(b.id in names, names.get(b.id, b.id)) for b in node.bases if isinstance(b, ast.Name)]
                fields = {n.target.id: ast.unparse(n.annotation) for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
                found[node.name] = (bases, fields)
    return found


source = bridge / "src/megatron/bridge"
own = classes_of([source / "training/config.py", *sorted((source / "data").rglob("*.py")), source / "training/tokenizers/config.py", source / "peft/lora.py", source / "peft/base.py", source / "peft/module_matcher.py"])
below = classes_of([
    *sorted((megatron_lm / "megatron/training/config").glob("*.py")),
    megatron_lm / "megatron/core/optimizer/optimizer_config.py",
])


def fields_of(name, outside=False):
    """All fields of a class; a base of another name in the import is the other project's."""
    bases, fields = (below if outside or name not in own else own).get(name, ([], {}))
    merged = {}
    for renamed, base in bases:
        if base != name or renamed:
            merged |= fields_of(base, outside or renamed)
    return merged | fields


container = fields_of("ConfigContainer")
SECTIONS = {"train": "TrainingConfig", "optimizer": "OptimizerConfig", "scheduler": "SchedulerConfig", "checkpoint": "CheckpointConfig", "rng": "RNGConfig", "tokenizer": "TokenizerConfig"}
for section, name in SECTIONS.items():
    assert name in container[section], (section, container[section])
assert "peft" in container and "dataset" in container
print(json.dumps({
    **{section: sorted(fields_of(name)) for section, name in SECTIONS.items()},
    "peft": sorted(fields_of("LoRA")),
    "dataset with a tower": sorted(fields_of("DirectHFSFTDatasetConfig")),
    "dataset of text": sorted(fields_of("GPTSFTDatasetConfig")),
    "source": sorted(fields_of("HFDatasetSourceConfig")),
}))
