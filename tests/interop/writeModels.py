"""Tiny random models of every architecture that transformers has, each saved in both of its formats.

Usage: writeModels.py OUT ARCHITECTURE... writes `OUT/A/hf` and `OUT/A.v5/hf`: the names of the published checkpoints
(`save_original_format=True`) and those that transformers 5 uses inside (`save_original_format=False`).
"""
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import torch

from classes import class_of, transformers

TEXT = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=256,
    max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    moe_intermediate_size=32, shared_expert_intermediate_size=32, num_experts=4, num_local_experts=4, n_routed_experts=4,
    num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, n_group=1, topk_group=1, moe_layer_start_index=1,
    q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, qk_head_dim=24, index_head_dim=16, index_n_heads=2,
    linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16, linear_value_head_dim=16,
    hidden_size_per_layer_input=8, vocab_size_per_layer_input=256,
    mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1, mamba_d_state=16, mamba_num_heads=4, mamba_head_dim=16,
    ssm_state_size=16, n_groups=1,
    dense_intermediate_size=96, shared_intermediate_size=32, projector_hidden_size=64, merged_hidden_size=256,
    embedding_size=64, emb_dim=32, enc_dim=16, enc_emb_dim=16, enc_channels=[16, 16, 16, 16, 48], enc_attention_channels=16, num_embeds=64,
    upsample_initial_channel=128, decoder_dim=64, codebook_size=64, codebook_dim=32, latent_dim=32,
)
TOWER = dict(
    hidden_size=32, intermediate_size=48, depth=2, num_hidden_layers=2, num_layers=2, num_heads=2, num_attention_heads=2, num_key_value_heads=2, out_hidden_size=64,
    head_dim=16, patch_size=16, image_size=32, deepstack_visual_indexes=[0, 1], num_position_embeddings=16, fullatt_block_indexes=[1],
    encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=48, d_model=32, output_dim=64, max_source_positions=64, downsample_hidden_size=16,
    decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=48, vocab_size=256, decoder_start_token_id=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
TOWERS = ("vision", "audio", "whisper")
# Lists with an entry per layer, which the config classes make anew.
PER_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers", "per_layer_config")
# Rotary angles of time, height and width, whose default widths stand in the code of these models.
ROTARY = dict(rope_type="default", rope_theta=10000.0)
THIRDS = {model: dict(rope_parameters=ROTARY | dict(mrope_section=[2, 3, 3])) for model in ("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text", "glm4v_text")}
# What a config class does not show among its defaults, by its model type, or its section where it has none.
ADDED = THIRDS | {
    "glm4v_moe_text": dict(rope_parameters=ROTARY | dict(partial_rotary_factor=0.5, mrope_section=[1, 1, 2])),
    "siglip_text_model": dict(projection_size=TOWER["hidden_size"]),
    "siglip2_text_model": dict(projection_size=TOWER["hidden_size"]),
    "gemma4_text": dict(global_head_dim=32),
    "ernie4_5_vl_moe_text": dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0, mrope_section=[3, 3, 2])),
    "minimax_m3_vl_text": dict(
        layer_types=["full_attention", "minimax_m3_sparse"] * 2, mlp_layer_types=["dense", "sparse", "sparse", "sparse"]
    ),
    "step3p5": dict(layer_types=["full_attention", "sliding_attention"] * 2, num_sliding_attention_heads=8, sliding_window=8),
    "talker_config": dict(spatial_merge_size=2),
    "qwen3_omni_moe_talker_text": dict(shared_expert_intermediate_size=32),
}


def resized(value, size):
    return [size] * len(value) if isinstance(value, list) and isinstance(size, int) else size


def shrunk(section, name):
    sizes = TOWER if any(word in name.lower() for word in TOWERS) else TEXT
    out = {k: resized(v, sizes[k]) if k in sizes else v for k, v in section.items() if k not in PER_LAYER}
    if section.get("kv_lora_rank"):
        # Latent attention has keys for every head, and its config gives the rotary part's width by that name.
        out.update(num_key_value_heads=out["num_attention_heads"], head_dim=out["qk_rope_head_dim"])
    out.update(ADDED.get(section.get("model_type") or name, {}))
    return {k: shrunk(v, k) if isinstance(v, dict) and k.endswith("_config") else v for k, v in out.items()}


def tiny(model):
    config = model.config_class
    fields = shrunk(config().to_dict(), model.__name__)
    return config(**{k: v for k, v in fields.items() if k not in ("transformers_version", "architectures")})


def write(out, architecture):
    model_class = class_of(architecture)
    if model_class is None:
        return False
    config = tiny(model_class)
    torch.manual_seed(0)
    model = model_class(config).to(torch.bfloat16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    for suffix, original in (("", True), (".v5", False)):
        folder = out / f"{architecture}{suffix}" / "hf"
        model.save_pretrained(folder, save_original_format=original)
        if hasattr(model, "load_speakers"):
            # It is not loaded without a file of voices.
            torch.save({}, folder / "spk_dict.pt")
    return True


if __name__ == "__main__":
    out, architectures = Path(sys.argv[1]), sys.argv[2:]
    known = [a for a in architectures if write(out, a)]
    print(f"{len(known)} of {len(architectures)} architectures are in transformers {transformers.__version__}")
