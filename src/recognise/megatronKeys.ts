/** Megatron checkpoints whose keys are not those of a plain model, by their keys. */
import type { Recognised } from "./Recognised.ts"

/** torch_dist keys of objects end like this; plain DCP (torch_dcp, fsdp_dtensor) has bare ones. */
const SHARD = /\/shard_\d+_\d+$/
const ADAPTER = /\.adapter(_\w+)?\.(linear_in|linear_out|weight_magnitude|magnitude)\b|\.lora_[ab]\b|\.lora_[AB]\b/
/** A part of the state dict that is a Megatron model: what its modules are called, with or without wrappers. */
const PLAIN_MODEL = /^model\d*\.(?:(?:module\.)+|(?=(?:embedding|decoder|encoder|language_model|vision_model|modality_submodules)\.))/

const TO_TORCH_DIST = "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist, then name that. Megatron-LM does it by `pretrain_gpt.py … --load DIR --ckpt-convert-format torch_dist --ckpt-convert-save NEW`."

/** A checkpoint of plain DCP that holds a Megatron model. */
export interface PlainDcp {
  readonly kind: "fsdp_dtensor" | "torch_dcp"
  /** What it is, and what of it is read. */
  readonly note: string
}

/** The keys of an index. */
export interface MegatronNames {
  readonly tensors: { keys(): Iterable<string> }
  readonly objects: { keys(): Iterable<string> }
}

const OPTIMIZER = "optimizer and random states have a form of their own and are left alone"

/**
 * A checkpoint in plain DCP instead of torch_dist, whose objects have bare keys; undefined for torch_dist. `hasBackend`: metadata.json is
 * there, which torch_dist always has. What has other names than a Megatron model is told with what to do.
 */
export const recognisePlainDcp = ({ objects, tensors }: MegatronNames, hasBackend: boolean): PlainDcp | Recognised | undefined => {
  const names = [...objects.keys()]
  if (names.some((key) => SHARD.test(key)) || (names.length === 0 && hasBackend)) return undefined
  const keys = [...tensors.keys()]
  if (!keys.some((key) => PLAIN_MODEL.test(key))) {
    return hasBackend || keys.length === 0 ? undefined : {
      kind: "torch_dcp",
      what: "this is a checkpoint of torch.distributed.checkpoint (plain DCP) whose tensors do not have the names of a Megatron model",
      next: "Let the program that wrote it save a Hugging Face model or a torch_dist checkpoint. `python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR FILE` makes one torch.save file of it, which `inspect` shows.",
      example: keys[0]!
    }
  }
  const ofFsdp = keys.some((key) => /\.linear_fc1\.(?:weight|bias)\d*_[wv]$/.test(key)) || names.some((key) => key.startsWith("optimizer.param_to_group_meta."))
  return ofFsdp
    ? { kind: "fsdp_dtensor", note: `a checkpoint of Megatron-FSDP (fsdp_dtensor): its weights are read, ${OPTIMIZER}` }
    : { kind: "torch_dcp", note: `a checkpoint of plain torch DCP (torch_dcp or fsdp_dtensor): its weights are read, ${OPTIMIZER}` }
}

interface Sign extends Recognised {
  readonly test: RegExp
}

const SIGNS: ReadonlyArray<Sign> = [
  {
    kind: "sequential-experts",
    test: /\.experts\.(?:(?:local_experts|experts)\.)?\d+\.linear_fc[12]\./,
    what: "the experts are stored one by one (sequential experts)",
    next: "Relabel the checkpoint, which joins them, and name the result.",
    relabel: "grouped"
  },
  {
    kind: "halves",
    test: /\.linear_fc1\.(weight|bias)_[wv]$/,
    what: "gate and up rows are stored apart (singleton_local_shards)",
    next: "Relabel the checkpoint, which joins them, and name the result.",
    relabel: "grouped"
  },
  {
    kind: "legacy-grouped-mlp",
    test: /\.experts\.(experts\.)?weight[12]$/,
    what: "the experts are those of the legacy grouped MLP (weight1, weight2, stored [in, out])",
    next: "Load it with the Megatron-Core that wrote it and save it with --moe-use-legacy-grouped-gemm off (Transformer Engine's grouped MLP) or with sequential experts."
  },
  {
    kind: "virtual-chunks",
    test: /^model\d+\./,
    what: "the keys are those of virtual pipeline chunks (model0., model1.), each of which counts its layers anew",
    next: TO_TORCH_DIST
  },
  {
    kind: "value-head",
    test: /(^|\.)(value_head|v_head|rm_head|reward_head|score)\./,
    what: "this is a value or reward model: it has a head of its own instead of the vocabulary's",
    next: "Export the language model that it was trained from; --allow-unmapped leaves the head behind on purpose."
  }
]

/** What a torch_dist checkpoint with these model keys is; undefined for what looks like a plain model. */
export const recogniseMegatronKeys = (keys: ReadonlyArray<string>): Recognised | undefined => {
  const adapters = keys.filter((key) => ADAPTER.test(key))
  if (adapters.length > 0) {
    const example = adapters[0]!
    if (adapters.length === keys.length) {
      return {
        kind: "adapter-only",
        what: "this checkpoint holds adapters only (LoRA), no model: the base is in the pretrained_checkpoint of its run",
        next: "`adapter export` makes a directory of peft of it, `adapter merge --hf-model BASE --adapter CHECKPOINT --hf-path DIR` a whole model.",
        example
      }
    }
    return {
      kind: "adapters",
      what: `this checkpoint holds ${adapters.length} adapter tensors (LoRA) that are not merged into the model${keys.some((key) => key.includes(".to_wrap.")) ? ", whose own weights are under to_wrap." : ""}`,
      next: "Merge them first (the merge_lora example of Megatron-Bridge); without them what was trained would be lost.",
      example
    }
  }
  for (const { test, ...found } of SIGNS) {
    const example = keys.find((key) => test.test(key))
    if (example !== undefined) return { ...found, example }
  }
  const wrapped = keys.find((key) => key.includes(".to_wrap."))
  return wrapped === undefined ? undefined : {
    kind: "to_wrap",
    what: "the model was saved inside adapter modules (to_wrap.), whose own tensors are not here",
    next: "Save the model with its adapters merged or removed.",
    example: wrapped
  }
}
