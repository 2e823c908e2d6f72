"""Classes of transformers by the name that an architecture has in config.json, those too that it does not export."""
import importlib
import re
import warnings
from functools import cache
from pathlib import Path

warnings.filterwarnings("ignore")
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@cache
def module_of_class():
    """Where each class of a model is defined."""
    models = Path(transformers.__file__).parent / "models"
    return {name: f"transformers.models.{path.parent.name}.{path.stem}" for path in models.glob("*/modeling_*.py") for name in re.findall(r"^class (\w+)\(", path.read_text(), re.M)}


def class_of(architecture):
    """None where transformers has no such model."""
    if (module := module_of_class().get(architecture)) is None:
        return None
    return getattr(importlib.import_module(module), architecture)
