"""A toy LLaVA put together from CLIP, Llama and a projector, against array mathematics and against transformers.

Usage: assembly.py write WORK makes the parts `WORK/{clip,llama,projector}`, `WORK/mm` (a `mm_projector.bin` of the same values) and `WORK/whisper`.
       assembly.py check WORK, where WORK also holds `torch_dist` and `tp_rank` (imports), `whole` (an export as one model) and `audio`.
With MEGATRON_BRIDGE=DIR the reference's own converters make the files of ranks once more, and must make the same.
"""
import importlib.util
import json
import os
import sys
import warnings
import zipfile
from pathlib import Path

warnings.filterwarnings("ignore")
import torch
import torch.distributed.checkpoint as dcp
import transformers
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

HIDDEN, FFN, HEADS, GROUPS, LAYERS, VOCAB = 64, 96, 8, 4, 2, 128
WIDTH, TOWER_FFN, TOWER_HEADS, DEPTH, SIDE, PATCH = 32, 64, 4, 3, 28, 14
IMAGE_TOKEN = 127
TP = 2
LANGUAGE, IMAGES, PROJECTION = "language_model", "modality_submodules.images.encoders.clip", "modality_submodules.images.input_projections.0"


def write(work):
    torch.manual_seed(0)
    clip = transformers.CLIPVisionConfig(hidden_size=WIDTH, intermediate_size=TOWER_FFN, num_attention_heads=TOWER_HEADS, num_hidden_layers=DEPTH, image_size=SIDE, patch_size=PATCH)
    llama = transformers.LlamaConfig(hidden_size=HIDDEN, intermediate_size=FFN, num_attention_heads=HEADS, num_key_value_heads=GROUPS, num_hidden_layers=LAYERS, vocab_size=VOCAB)
    whisper = transformers.WhisperConfig(d_model=WIDTH, encoder_layers=2, decoder_layers=1, encoder_attention_heads=TOWER_HEADS, decoder_attention_heads=TOWER_HEADS, encoder_ffn_dim=TOWER_FFN, decoder_ffn_dim=TOWER_FFN,
                                         num_mel_bins=8, max_source_positions=20, max_target_positions=20, vocab_size=VOCAB, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    for name, model in (("clip", transformers.CLIPVisionModel(clip)), ("llama", transformers.LlamaForCausalLM(llama)), ("whisper", transformers.WhisperModel(whisper))):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(work / name)
    projector = {"0.weight": torch.randn(HIDDEN, WIDTH), "0.bias": torch.randn(HIDDEN), "2.weight": torch.randn(HIDDEN, HIDDEN), "2.bias": torch.randn(HIDDEN)}
    (work / "projector").mkdir()
    (work / "mm").mkdir()
    layers = {"0": "linear_1", "2": "linear_2"}
    save_file({f"multi_modal_projector.{layers[key[0]]}{key[1:]}": value for key, value in projector.items()}, work / "projector/model.safetensors")
    torch.save({f"model.mm_projector.{key}": value for key, value in projector.items()}, work / "mm/mm_projector.bin")


def interleaved(q, k, v, heads, groups):
    """Rows of each group: its queries, its key, its value."""
    d = q.shape[0] // heads
    rest = q.shape[1:]
    return torch.cat([q.view(groups, -1, *rest), k.view(groups, d, *rest), v.view(groups, d, *rest)], dim=1).reshape(-1, *rest)


def tower(get, layer, depth, names):
    """One layer of an encoder after another, as Megatron's own layers hold it."""
    out = {}
    for i in range(depth):
        own, to = (lambda name, i=i: get(layer.format(i) + name)), f"decoder.layers.{i}."
        for kind in ("weight", "bias"):
            q, v = own(f"self_attn.q_proj.{kind}"), own(f"self_attn.v_proj.{kind}")
            k = own(f"self_attn.k_proj.{kind}") if kind == "weight" or names["key_bias"] else torch.zeros_like(q)
            out[f"{to}self_attention.linear_qkv.{kind}"] = interleaved(q, k, v, TOWER_HEADS, TOWER_HEADS)
            out[f"{to}self_attention.linear_proj.{kind}"] = own(f"self_attn.out_proj.{kind}")
            out[f"{to}self_attention.linear_qkv.layer_norm_{kind}"] = own(f"{names['norm1']}.{kind}")
            out[f"{to}mlp.linear_fc1.layer_norm_{kind}"] = own(f"{names['norm2']}.{kind}")
            for n in (1, 2):
                out[f"{to}mlp.linear_fc{n}.{kind}"] = own(f"{names['mlp']}fc{n}.{kind}")
    return out


def clip_tensors(work):
    source = load_file(work / "clip/model.safetensors")
    get = lambda name: source[name] if name in source else source[f"vision_model.{name}"]
    out = {
        "class_token": get("embeddings.class_embedding").view(1, 1, WIDTH),
        "position_embeddings.weight": get("embeddings.position_embedding.weight"),
        "conv1.weight": get("embeddings.patch_embedding.weight"),
        "ln_pre.weight": get("pre_layrnorm.weight"),
        "ln_pre.bias": get("pre_layrnorm.bias"),
    }
    return out | tower(get, "encoder.layers.{}.", DEPTH - 1, dict(norm1="layer_norm1", norm2="layer_norm2", mlp="mlp.", key_bias=True))


def whisper_tensors(work):
    get = load_file(work / "whisper/model.safetensors").__getitem__
    out = {f"{to}.{kind}": get(f"encoder.{of}.{kind}") for to, of in (("conv1", "conv1"), ("conv2", "conv2"), ("ln_post", "layer_norm")) for kind in ("weight", "bias")}
    out["position_embeddings.weight"] = get("encoder.embed_positions.weight")
    return out | tower(get, "encoder.layers.{}.", 2, dict(norm1="self_attn_layer_norm", norm2="final_layer_norm", mlp="", key_bias=False))


def llama_tensors(work):
    get = load_file(work / "llama/model.safetensors").__getitem__
    out = {"embedding.word_embeddings.weight": get("model.embed_tokens.weight"), "decoder.final_layernorm.weight": get("model.norm.weight"), "output_layer.weight": get("lm_head.weight")}
    for i in range(LAYERS):
        own, to = (lambda name, i=i: get(f"model.layers.{i}.{name}.weight")), f"decoder.layers.{i}."
        out[f"{to}self_attention.linear_qkv.weight"] = interleaved(own("self_attn.q_proj"), own("self_attn.k_proj"), own("self_attn.v_proj"), HEADS, GROUPS)
        out[f"{to}self_attention.linear_proj.weight"] = own("self_attn.o_proj")
        out[f"{to}self_attention.linear_qkv.layer_norm_weight"] = own("input_layernorm")
        out[f"{to}mlp.linear_fc1.layer_norm_weight"] = own("post_attention_layernorm")
        out[f"{to}mlp.linear_fc1.weight"] = torch.cat([own("mlp.gate_proj"), own("mlp.up_proj")])
        out[f"{to}mlp.linear_fc2.weight"] = own("mlp.down_proj")
    return out


def projector_tensors(work):
    source = load_file(work / "projector/model.safetensors")
    return {f"encoder.linear_fc{n}.{kind}": source[f"multi_modal_projector.linear_{n}.{kind}"] for n in (1, 2) for kind in ("weight", "bias")}


def sliced(name, tensor, rank, gated):
    """What a tensor-parallel rank holds of it."""
    module, kind = ["", *name.split(".")][-2:]
    if (module in ("linear_qkv", "linear_fc1") and kind in ("weight", "bias")) or module in ("word_embeddings", "output_layer"):
        parts = tensor.chunk(2) if gated and module == "linear_fc1" else [tensor]
        return torch.cat([part.chunk(TP)[rank] for part in parts])
    return tensor.chunk(TP, dim=1)[rank] if module in ("linear_proj", "linear_fc2") and kind == "weight" else tensor


def same(what, found, expected):
    if (odd := sorted(found.keys() ^ expected.keys())):
        sys.exit(f"FAILED {what}: {odd[0]} is {'not expected' if odd[0] in found else 'missing'}")
    for name, tensor in expected.items():
        if found[name].dtype != tensor.dtype or not torch.equal(found[name], tensor):
            sys.exit(f"FAILED {what}: {name} is not what the mathematics says")
    return len(expected)


def stored(directory):
    """Tensors of the model, with layers apart."""
    reader = dcp.FileSystemReader(directory)
    state = {key: torch.empty(value.size, dtype=value.properties.dtype) for key, value in reader.read_metadata().state_dict_metadata.items() if isinstance(value, TensorStorageMetadata) and not key.startswith("hf_source.")}
    dcp.load(state, storage_reader=reader, no_dist=True)
    out = {}
    for key, tensor in state.items():
        if ".decoder.layers." in key:
            out |= {key.replace(".decoder.layers.", f".decoder.layers.{i}."): layer for i, layer in enumerate(tensor)}
        else:
            out[key] = tensor
    return out


def ranks(directory):
    """State dicts of all ranks; their archives are whole."""
    out = []
    for rank in range(TP):
        path = directory / f"tp_rank_{rank:02d}/model_weights.pt"
        if (broken := zipfile.ZipFile(path).testzip()) is not None:
            sys.exit(f"FAILED {path}: {broken} has another CRC-32")
        out.append(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return out


def whole_equals_parts(work):
    """LLaVA as one model of transformers, and its parts run one after the other."""
    llava = transformers.LlavaForConditionalGeneration.from_pretrained(work / "whole", dtype=torch.float32).eval()
    clip = transformers.CLIPVisionModel.from_pretrained(work / "clip", dtype=torch.float32).eval()
    llama = transformers.LlamaForCausalLM.from_pretrained(work / "llama", dtype=torch.float32).eval()
    projector = load_file(work / "projector/model.safetensors")
    linear = lambda n, x: torch.nn.functional.linear(x, projector[f"multi_modal_projector.linear_{n}.weight"], projector[f"multi_modal_projector.linear_{n}.bias"])
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[3, 5] + [IMAGE_TOKEN] * (SIDE // PATCH) ** 2 + [7, 11, 13]])
    with torch.no_grad():
        features = clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        embeddings = llama.get_input_embeddings()(ids)
        embeddings[ids == IMAGE_TOKEN] = linear(2, torch.nn.functional.gelu(linear(1, features)))[0]
        parts = llama(inputs_embeds=embeddings).logits
        if not torch.equal(llava(input_ids=ids, pixel_values=pixels).logits, parts):
            sys.exit("FAILED the whole LLaVA computes other logits than its parts")


def reference(bridge, work, expected):
    """The reference's converters on the same parts."""
    folder = Path(bridge) / "examples/megatron_mimo/llava"
    for module, function, source in (("convert_hf_clip_to_megatron", "convert_hf_clip_to_megatron", "clip"), ("convert_hf_llama_to_megatron", "convert_hf_llama_to_megatron", "llama"), ("whisper/convert_hf_whisper_to_megatron", "convert_hf_whisper_to_megatron", "whisper")):
        spec = importlib.util.spec_from_file_location(function, folder / f"{module}.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        out = work / "reference" / source
        sys.stdout = open(os.devnull, "w")
        getattr(loaded, function)(str(work / source), str(out), tensor_parallel_size=TP, use_te=True)
        sys.stdout = sys.__stdout__
        for theirs, ours in zip(ranks(out), expected[source]):
            # Layers behind the one whose output the model takes are in its files, for no module.
            names = {name for name in theirs if not name.startswith(f"decoder.layers.{DEPTH - 1}.") or source != "clip"}
            if names != ours.keys():
                sys.exit(f"FAILED {source}: the reference's converter writes other names: {sorted(names ^ ours.keys())[:3]}")
            for name in names:
                if not (theirs[name] is None and ours[name] is None) and not torch.equal(theirs[name], ours[name]):
                    sys.exit(f"FAILED {source}: the reference's converter writes another {name}")


def check(work):
    language, images, projection, audio = llama_tensors(work), clip_tensors(work), projector_tensors(work), whisper_tensors(work)
    model = {f"{prefix}.{name}": tensor for prefix, own in ((LANGUAGE, language), (IMAGES, images), (PROJECTION, projection)) for name, tensor in own.items()}
    count = same("torch_dist", stored(work / "torch_dist/iter_0000000"), model)
    same("mm_projector.bin", stored(work / "from_bin/iter_0000000"), model)
    files = {LANGUAGE: (language, True), IMAGES: (images, False), PROJECTION: (projection, False)}
    found = {prefix: ranks(work / "tp_rank" / prefix) for prefix in files}
    audio_prefix = "modality_submodules.audios.encoders.whisper"
    found[audio_prefix] = ranks(work / "audio" / audio_prefix)
    for prefix, (own, gated) in (files | {audio_prefix: (audio, False)}).items():
        for rank, state in enumerate(found[prefix]):
            same(f"{prefix} of rank {rank}", {name: tensor for name, tensor in state.items() if tensor is not None}, {name: sliced(name, tensor, rank, gated) for name, tensor in own.items()})
    whole_equals_parts(work)
    if (bridge := os.environ.get("MEGATRON_BRIDGE")):
        reference(bridge, work, {"clip": found[IMAGES], "llama": found[LANGUAGE], "whisper": found[audio_prefix]})
    print(f"interop: LLaVA assembled, {count} tensors by array mathematics, files of {TP} ranks, the same logits as its parts" + (", the files of the reference's converters" if bridge else ""))


{"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
