"""Steps and learning rates of the trainer's recipes, read without importing them: a checkout in, JSON out."""

import ast
import json
import sys
from pathlib import Path

recipes = Path(sys.argv[1]) / "src/megatron/bridge/recipes"
COMMON = {"_sft_common", "_peft_common", "_sft_common_vlm", "_peft_common_vlm"}


def number(node):
    return float(eval(compile(ast.Expression(node), "rate", "eval"), {"__builtins__": {}}))


found = {}
for path in sorted(recipes.rglob("*.py")):
    for function in ast.parse(path.read_text()).body:
        if not isinstance(function, ast.FunctionDef) or not any(kind in function.name for kind in ("_sft_", "_peft_")):
            continue
        base, rates = None, {}
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                base = name if name in COMMON else base
                for keyword in node.keywords:
                    if keyword.arg in ("max_lr", "min_lr"):
                        try:
                            rates[keyword.arg] = number(keyword.value)
                        except NameError:
                            pass
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("optimizer.min_lr"):
                rates["min_lr"] = number(node.value)
        found[function.name] = {"base": base, **rates}

metadata = ast.parse((Path(sys.argv[1]) / "scripts/training/recipe_metadata.py").read_text())
steps = {}
for node in metadata.body:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
    if isinstance(target, ast.Name) and target.id == "RECIPE_FORWARD_STEP_PREFIXES":
        steps = dict(ast.literal_eval(node.value))
print(json.dumps({"recipes": found, "steps": steps}))
