"""Verdicts of the trainer's own configuration classes, loaded alone: layouts in (JSON on stdin), errors or null out."""

import importlib.util
import json
import sys
import types

ROLE = "megatron.core.models.mimo.config.role"
for name in ("megatron", "megatron.core", "megatron.core.models", "megatron.core.models.mimo", "megatron.core.models.mimo.config", ROLE):
    sys.modules[name] = types.ModuleType(name)
sys.modules[ROLE].MIMO_LANGUAGE_MODULE_KEY = "language"

spec = importlib.util.spec_from_file_location("config", sys.argv[1])
config = importlib.util.module_from_spec(spec)
sys.modules["config"] = config
spec.loader.exec_module(config)

FIELDS = {
    "tp": "tensor_model_parallel_size", "pp": "pipeline_model_parallel_size", "cp": "context_parallel_size", "ep": "expert_model_parallel_size",
    "etp": "expert_tensor_parallel_size", "dp": "data_parallel_size", "rankOffset": "rank_offset",
}


def verdict(layout: dict) -> "str | None":
    modules = {
        c["name"]: config.ModuleParallelismConfig(**{FIELDS[k]: v for k, v in c["parallelism"].items() if k in FIELDS}) for c in layout["components"]
    }
    try:
        config.MegatronMIMOParallelismConfig(module_parallelisms=modules).finalize(layout["worldSize"])
    except (ValueError, AssertionError) as error:
        return str(error)
    return None


print(json.dumps([verdict(layout) for layout in json.load(sys.stdin)]))
