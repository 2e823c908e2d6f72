/** Directories that hold a model in a form that is not read here, by the names in them. */
import type { Recognised } from "./Recognised.ts"

const TO_SAFETENSORS = "Load it with transformers and write it with save_pretrained(DIR), which writes safetensors."

/** Megatron-Core 0.12 has both formats. */
export const ZARR = "Load it with Megatron-Core 0.12 or earlier, the last that reads zarr, and let it write the other format: `pretrain_gpt.py … --load DIR --ckpt-convert-format torch_dist --ckpt-convert-save NEW`."

/** For those that no family reads. Queries and keys have another order of rows there, as pairs of rotary positions stand side by side. */
export const CONSOLIDATED = "Read as they are: a directory with consolidated.safetensors and params.json of decoders, dense or with experts by name, with or without a vision encoder. Else name the directory in the transformers format (config.json and model*.safetensors), or make it with the family's script in a checkout of transformers: `python src/transformers/models/MODEL/convert_MODEL_weights_to_hf.py DIR NEW` (with --modules_are_split for consolidated.NN.pth). Renaming does not do: rows of queries and keys have another order."

interface Sign extends Recognised {
  readonly test: RegExp
  /** Another name that must be there, too. */
  readonly and?: RegExp
}

/** Ordered: what says most comes first. */
const SIGNS: ReadonlyArray<Sign> = [
  {
    kind: "peft-adapter",
    test: /^adapter_(config\.json|model\.(safetensors|bin))$/,
    what: "this is a PEFT adapter (LoRA and the like), not a model: its base model is elsewhere",
    next: "`adapter merge --hf-model BASE --adapter ADAPTER --hf-path DIR` merges it, `adapter import` makes a Megatron checkpoint of it."
  },
  {
    kind: "consolidated",
    test: /^consolidated(\.\d+)?\.(safetensors|pth|pt)$/,
    and: /^params\.json$/,
    what: "these are consolidated weights with params.json, the publisher's own format, not the one of transformers",
    next: CONSOLIDATED
  },
  {
    kind: "gguf",
    test: /\.gguf$/,
    what: "this is a GGUF model; safetensors and Megatron checkpoints are read here",
    next: "Convert the original weights, not their GGUF form, which is quantised for inference. If there are no others, transformers makes values of the codes: AutoModelForCausalLM.from_pretrained(DIR, gguf_file=FILE).save_pretrained(NEW)."
  },
  {
    kind: "deepspeed",
    test: /^(zero_to_fp32\.py|zero_pp_rank_\d+_mp_rank_\d+.*|mp_rank_\d+_model_states\.pt|bf16_zero_pp_rank_.*)$/,
    what: "this is a DeepSpeed checkpoint: pickles, one for each rank",
    next: "Run its own `python zero_to_fp32.py . DIR --safe_serialization` (in the folder that has that script and global_step*), and name DIR."
  },
  {
    kind: "deepspeed",
    test: /^global_step\d+$/,
    and: /^latest$/,
    what: "these are checkpoints of DeepSpeed (ZeRO): each global_step folder holds pickles, one for each rank",
    next: "Run DeepSpeed's `python zero_to_fp32.py . DIR --safe_serialization` here, and name DIR. (Without ZeRO 1 to 3: load it with the trainer and save_pretrained.)"
  },
  {
    kind: "zarr",
    test: /^\.zarray$/,
    what: "this is a tensor of a checkpoint in zarr, which no current Megatron-Core reads",
    next: ZARR
  },
  {
    kind: "fsdp-shards",
    test: /^(model_world_size_\d+_rank_\d+\.pt|pytorch_model_fsdp(_\d+)?(\.bin)?)$/,
    what: "these are shards of a torch FSDP run: pickles, one for each rank",
    next: "Merge them with the trainer's own tool (of verl: `python -m verl.model_merger merge`; of accelerate: `accelerate merge-weights`) into a Hugging Face directory."
  },
  {
    kind: "nemo-archive",
    test: /\.nemo$/,
    what: "this is a .nemo archive",
    next: "NeMo 1 converts it: `python scripts/checkpoint_converters/convert_MODEL_nemo_to_hf.py --input_name_or_path FILE.nemo --output_path NEW`. Of a NeMo 2 checkpoint the weights folder is read here as it is, or `nemo llm export path=DIR target=hf output_path=NEW`."
  },
  { kind: "npz", test: /\.npz$/, what: "these are weights of MLX in NumPy archives, not safetensors", next: "Convert the original weights, or save them with mlx as safetensors, not quantised." },
  { kind: "tensorflow", test: /^tf_model.*\.h5$/, what: "these are TensorFlow weights, not safetensors", next: TO_SAFETENSORS },
  { kind: "flax", test: /^flax_model.*\.msgpack$/, what: "these are Flax weights, not safetensors", next: TO_SAFETENSORS },
  { kind: "onnx", test: /\.onnx$/, what: "this is an ONNX model, not safetensors", next: "Convert the original weights." },
  {
    kind: "pickles",
    test: /\.(bin|pt|pth|ckpt)(\.index\.json)?$/,
    what: "its weights are pickles (.bin, .pt, .pth); of those only pytorch_model.bin and what pytorch_model.bin.index.json names are read as a model",
    next: TO_SAFETENSORS
  }
]

/** Files beside weights that look like weights and are none. */
const NO_WEIGHTS = /^(training_args\.bin|optimizer\.pt|scheduler\.pt|rng_state.*\.pth|scaler\.pt|train_state\.pt|latest_train_state\.pt|common\.pt)$/

/** What the directory with these names is; undefined if nothing in it is known. */
export const recogniseFiles = (names: ReadonlyArray<string>): Recognised | undefined => {
  const own = names.filter((name) => (!name.startsWith(".") || name === ".zarray") && !NO_WEIGHTS.test(name))
  for (const { and, test, ...found } of SIGNS) {
    const example = own.find((name) => test.test(name))
    if (example !== undefined && (and === undefined || own.some((name) => and.test(name)))) return { ...found, example }
  }
  return undefined
}

/** Ordinary folders that a checkpoint stands in, one level further down: of NeMo 2 and of verl. */
export const nestedCheckpoint = (names: ReadonlyArray<string>): string | undefined =>
  names.includes("weights") && names.includes("context") ? "weights"
  : names.includes("dist_ckpt") ? "dist_ckpt"
  : undefined
