"""peft loads the adapters that we export, and they do to a model what our merge does.

Usage: adapters.py WORK. Makes toy models in FP32 and lets peft save an adapter for each: dense with an A for every projection, DoRA, packed experts
(`target_parameters`), a vision tower with its merger. `adapters.ts` imports, exports and merges them. Then: the export is what peft saved; peft loads
it without a key too many or too few; its logits are those of the merged model.
"""
import json
import subprocess
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from writeModels import tiny

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXPERTS = [f"model.layers.{i}.mlp.experts.{name}" for i in range(2) for name in ("gate_up_proj", "down_proj")]
CASES = {
    "dense": ("LlamaForCausalLM", dict(r=4, lora_alpha=8, target_modules=LINEAR)),
    "dora": ("Qwen3ForCausalLM", dict(r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"], use_dora=True)),
    "experts": ("GptOssForCausalLM", dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"], target_parameters=EXPERTS)),
    "vision": ("Qwen3VLForConditionalGeneration", dict(r=2, lora_alpha=2, target_modules=["qkv", "attn.proj", "linear_fc1", "linear_fc2", "q_proj", "k_proj", "v_proj", "o_proj"])),
}
# What the reference leaves out of a configuration, or says for every adapter.
SAID = ["peft_type", "r", "lora_alpha", "lora_dropout", "bias", "use_dora", "use_rslora", "modules_to_save", "target_parameters"]


def made(work, name):
    architecture, settings = CASES[name]
    model_class = getattr(transformers, architecture)
    torch.manual_seed(len(name))
    config = tiny(model_class)
    if name == "vision":
        config.image_token_id = 250
    model = model_class(config).float().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(work / name / "hf")
    adapted = get_peft_model(model, LoraConfig(**settings))
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, std=0.3, mean=1.0 if "magnitude" in key else 0.0)
    adapted.save_pretrained(work / name / "adapter")


def logits(model, name):
    tokens = torch.tensor([[(37 * i + 5) % 200 for i in range(12)]])
    with torch.no_grad():
        if name != "vision":
            return model(input_ids=tokens).logits
        config = model.config
        grid = torch.tensor([[1, 4, 4]])
        generator = torch.Generator().manual_seed(1)
        vision = config.vision_config
        patches = torch.randn(16, 3 * vision.temporal_patch_size * vision.patch_size**2, generator=generator)
        images = 16 // vision.spatial_merge_size**2
        tokens[0, 2 : 2 + images] = config.image_token_id
        return model(input_ids=tokens, pixel_values=patches, image_grid_thw=grid, mm_token_type_ids=(tokens == config.image_token_id).int()).logits


def check(work, name):
    architecture, _ = CASES[name]
    folder = work / name
    model_class = getattr(transformers, architecture)
    saved, exported = (load_file(folder / part / "adapter_model.safetensors") for part in ("adapter", "exported"))
    assert saved.keys() == exported.keys(), f"{name}: {sorted(saved.keys() ^ exported.keys())[:6]}"
    assert all(torch.equal(saved[key], exported[key]) for key in saved), f"{name}: other values than peft saved"
    said, now = (json.loads((folder / part / "adapter_config.json").read_text()) for part in ("adapter", "exported"))
    assert [said.get(key) or None for key in SAID] == [now.get(key) or None for key in SAID], f"{name}: {now}"
    base = model_class.from_pretrained(folder / "hf", dtype=torch.float32).eval()
    before = logits(base, name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing|unexpected).*keys.*")
        adapted = PeftModel.from_pretrained(base, folder / "exported").eval()
    held = sum("lora_" in key for key in adapted.state_dict())
    assert held == len(exported), f"{name}: peft made {held} matrices, the adapter has {len(exported)}"
    wanted = logits(adapted, name)
    merged = logits(model_class.from_pretrained(folder / "merged", dtype=torch.float32).eval(), name)
    scale = wanted.abs().max()
    assert bool(wanted.isfinite().all()) and (wanted - before).abs().max() > 0.01 * scale, f"{name}: the adapter does nothing"
    difference = ((wanted - merged).abs().max() / scale).item()
    assert difference < 1e-4, f"{name}: logits differ by {difference} of their scale"
    return difference


if __name__ == "__main__":
    work = Path(sys.argv[1])
    for name in CASES:
        made(work, name)
    subprocess.run(["node", str(Path(__file__).parent / "adapters.ts"), str(work)], check=True)
    differences = [check(work, name) for name in CASES]
    print(f"interop: peft gives the logits of our merges, and its adapters come back as they were ({', '.join(CASES)}; at most {max(differences):.1e} of the logits' scale)")
