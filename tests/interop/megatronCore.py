"""Checkpoints of Megatron-LM's form, loaded by Megatron-Core itself on the CPU, compute what the Hugging Face models compute.

Usage: megatronCore.py CHECKPOINT HF [CHECKPOINT HF …], with MEGATRON_LM naming a checkout of Megatron-LM. CHECKPOINT is an iter_*
folder whose norms have the names of the local layer specification; its arguments (`args`) say what model is built. Triton and CUDA
streams, which the modules import, are stood in for; nothing that computes is.
"""
import contextlib
import dataclasses
import os
import sys
from unittest.mock import MagicMock

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, os.environ["MEGATRON_LM"])
torch.compile = lambda f=None, **_: f if f else (lambda g: g)
torch.cuda.Stream = MagicMock
torch.cuda.current_stream = MagicMock()
torch.cuda.current_device = lambda: "cpu"
torch.Tensor.cuda = lambda self, *_, **__: self
for name in ("triton", "triton.language", "triton.language.extra", "triton.language.extra.libdevice"):
    sys.modules[name] = MagicMock(__version__="3.4.0")

from megatron.core import dist_checkpointing, parallel_state  # noqa: E402
from megatron.core.dist_checkpointing.validation import StrictHandling  # noqa: E402
from megatron.core.models.gpt import GPTModel  # noqa: E402
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec  # noqa: E402
from megatron.core.tensor_parallel import random as parallel_random  # noqa: E402
from megatron.core.transformer.transformer_config import TransformerConfig  # noqa: E402

parallel_random.CudaRNGStatesTracker.fork = lambda self, *_, **__: contextlib.nullcontext()
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
parallel_state.initialize_model_parallel()

# In fp32 both sides differ by the order of their sums alone.
MAX_DIFFERENCE = 1e-5
LENGTH = 12


def built(args):
    """The model that the arguments describe, as the trainer makes it of them, in fp32 and on one rank."""
    names = {field.name for field in dataclasses.fields(TransformerConfig)}
    fields = {name: value for name, value in vars(args).items() if name in names and value is not None}
    fields.update(
        num_moe_experts=getattr(args, "num_experts", None),
        num_query_groups=args.num_query_groups if args.group_query_attention else None,
        activation_func=torch.nn.functional.silu,
        gated_linear_unit=args.swiglu,
        use_cpu_initialization=True,
        bf16=False, fp16=False, params_dtype=torch.float32, pipeline_dtype=torch.float32,
        bias_activation_fusion=False, bias_dropout_fusion=False, masked_softmax_fusion=False, gradient_accumulation_fusion=False,
        tensor_model_parallel_size=1, pipeline_model_parallel_size=1, expert_model_parallel_size=1, expert_tensor_parallel_size=1,
        sequence_parallel=False,
    )
    config = TransformerConfig(**fields)
    return GPTModel(
        config,
        get_gpt_decoder_block_spec(config, use_transformer_engine=False, normalization=args.normalization),
        vocab_size=args.padded_vocab_size,
        max_sequence_length=args.max_position_embeddings,
        position_embedding_type=args.position_embedding_type,
        rotary_base=args.rotary_base,
        rotary_percent=args.rotary_percent,
        share_embeddings_and_output_weights=not args.untie_embeddings_and_output_weights,
    )


paths = sys.argv[1:]
for checkpoint, hf in zip(paths[::2], paths[1::2]):
    args = dist_checkpointing.load_common_state_dict(checkpoint)["args"]
    model = built(args).bfloat16()
    loaded = dist_checkpointing.load({"model": model.sharded_state_dict()}, checkpoint, strict=StrictHandling.ASSUME_OK_UNEXPECTED)
    model.load_state_dict(loaded["model"])
    model = model.float().eval()
    tokens = torch.arange(LENGTH)[None] * 37 % args.padded_vocab_size
    causal = torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), 1)[None, None]
    reference = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        difference = (model(tokens, torch.arange(LENGTH)[None], causal) - reference(tokens).logits).abs().max()
    if difference > MAX_DIFFERENCE:
        sys.exit(f"FAILED {checkpoint}: logits of Megatron-Core and of transformers differ by {difference}")
print(f"{len(paths) // 2} checkpoints are loaded by Megatron-Core and compute what transformers computes")
