/** `finetune.py`: the trainer's own script with what it lacks, or (standard form) the trainer's common configuration with ours. */
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { lines, python, quoted } from "./shell.ts"
import { DDP_OPTION } from "./launch.ts"
import type { MimoSetup, Setting, Setup, StandardSetup } from "./Setup.ts"

const dict = (name: string, entries: Iterable<readonly [string, Setting]>): string => {
  const all = [...entries].map(([key, value]) => `    ${quoted(key)}: ${python(value)},`)
  return all.length === 0 ? `${name} = {}` : [`${name} = {`, ...all, "}"].join("\n")
}

/** Fields of the standard provider that the layout asks for. */
const providerFields = ({ score }: Setup): ReadonlyArray<readonly [string, Setting]> => [
  ["sequence_parallel", score.sequenceParallel],
  ...(score.recompute === "full" ? [["recompute_granularity", "full"], ["recompute_method", "uniform"], ["recompute_num_layers", 1]] as const
    : score.recompute === "selective" ? [["recompute_granularity", "selective"]] as const : [])
]

const SET_FIELD = `def set_field(root: object, path: str, value: object) -> None:
    """Set a field by its dotted path; one that does not exist is an error, not a new attribute."""
    *sections, name = path.split(".")
    target = root
    for section in sections:
        target = getattr(target, section)
    if not hasattr(target, name):
        raise AttributeError(f"the configuration has no field {path}")
    setattr(target, name, value)`

/** A hook of the model provider. */
const FREEZE_ROUTERS = [
  "def freeze_routers(model_list: list) -> list:",
  `    """Runs after the weights are loaded and before wrapping: routers do not train."""`,
  "    for model in model_list:",
  "        for name, parameter in model.named_parameters():",
  `            if ".router." in name or ".shared_experts.gate_" in name:`,
  "                parameter.requires_grad = False",
  "    return model_list",
] as const

const TAKE_DDP = [
  `def take_ddp_checkpoint() -> "str | None":`,
  `    """Take ${DDP_OPTION} DIR off the command line. The example loads nothing then: the trainer does, after wrapping."""`,
  `    if ${quoted(DDP_OPTION)} not in sys.argv:`,
  "        return None",
  `    at = sys.argv.index(${quoted(DDP_OPTION)})`,
  "    path = sys.argv[at + 1]",
  "    # Without a checkpoint the trainer would begin with random weights, without a word.",
  `    if not (Path(path) / "latest_checkpointed_iteration.txt").is_file():`,
  `        raise FileNotFoundError(f"{path} is no Megatron checkpoint")`,
  `    sys.argv[at : at + 2] = ["--allow-random-init"]`,
  "    return path",
  "",
  ""
]

const mimo = (s: MimoSetup): string => lines(
  "#!/usr/bin/env python3",
  `"""Fine-tune ${s.name} as MegatronMIMO: the trainer's example script, its command line, and what it has no option for."""`,
  "",
  "import importlib.util",
  "import os",
  "import sys",
  "from pathlib import Path",
  "from types import ModuleType",
  "",
  "# A checkout of the trainer; its example is run as it is.",
  `SCRIPT = ${quoted(s.script.path)}`,
  "",
  "# Fields of the standard provider that the example has no option for.",
  dict("PROVIDER", providerFields(s)),
  "",
  "# Fields of the configuration, by dotted path.",
  dict("OVERRIDES", s.overrides),
  "",
  `FREEZE_ROUTER = ${python(s.frozen.includes("router"))}`,
  "",
  "",
  "def load_script() -> ModuleType:",
  `    """The example script, as a module."""`,
  `    path = Path(os.environ["MEGATRON_BRIDGE"]) / SCRIPT`,
  `    spec = importlib.util.spec_from_file_location("mimo_example", path)`,
  "    if spec is None or spec.loader is None:",
  `        raise FileNotFoundError(f"{path}: MEGATRON_BRIDGE must name a checkout of the trainer")`,
  "    module = importlib.util.module_from_spec(spec)",
  "    sys.modules[spec.name] = module",
  "    spec.loader.exec_module(module)",
  "    return module",
  "",
  "",
  SET_FIELD,
  "",
  "",
  ...FREEZE_ROUTERS,
  "",
  "",
  ...(s.loadRoute === "ddp" ? TAKE_DDP : []),
  `def extend(script: ModuleType${s.loadRoute === "ddp" ? `, ddp_checkpoint: "str | None"` : ""}) -> None:`,
  `    """Give the example what it lacks: ep of a component, fields of the provider and of the configuration, frozen routers."""`,
  `    script.G_COMPONENT_KEY_TO_FIELD.setdefault("ep", "expert_model_parallel_size")`,
  "    from_standard_provider = script.MegatronMIMOProvider.from_standard_provider",
  "    build_config = script._build_config",
  "",
  "    def with_provider_fields(standard_provider, megatron_mimo_parallelism_config):",
  "        for name, value in PROVIDER.items():",
  "            set_field(standard_provider, name, value)",
  "        provider = from_standard_provider(",
  "            standard_provider=standard_provider,",
  "            megatron_mimo_parallelism_config=megatron_mimo_parallelism_config,",
  "        )",
  "        return provider",
  "",
  "    def with_overrides(**parts):",
  "        if FREEZE_ROUTER:",
  `            parts["model_provider"].register_pre_wrap_hook(freeze_routers)`,
  "        config = build_config(**parts)",
  ...(s.loadRoute === "ddp" ? [
    "        if ddp_checkpoint is not None:",
    `            set_field(config, "checkpoint.pretrained_checkpoint", ddp_checkpoint)`,
    `            set_field(config, "checkpoint.load_optim", False)`,
    `            set_field(config, "checkpoint.load_rng", False)`
  ] : []),
  "        for path, value in OVERRIDES.items():",
  "            set_field(config, path, value)",
  "        return config",
  "",
  "    script.MegatronMIMOProvider.from_standard_provider = staticmethod(with_provider_fields)",
  "    script._build_config = with_overrides",
  "",
  "",
  "def main() -> None:",
  ...(s.loadRoute === "ddp" ? ["    ddp_checkpoint = take_ddp_checkpoint()"] : []),
  "    script = load_script()",
  `    extend(script${s.loadRoute === "ddp" ? ", ddp_checkpoint" : ""})`,
  "    script.main()",
  "",
  "",
  `if __name__ == "__main__":`,
  "    main()"
)

/** Freezes that models with towers have fields for. */
const FREEZE_FIELDS: Readonly<Record<string, string>> = {
  [LANGUAGE_COMPONENT]: "freeze_language_model", images: "freeze_vision_model", "images.projector": "freeze_vision_projection"
}

/** The dataset of a standard run, as the trainer's own configuration: its imports and what sets it. */
const datasetStanza = ({ dataset, hasTower }: StandardSetup): { readonly imports: ReadonlyArray<string>; readonly lines: ReadonlyArray<string> } => {
  if (dataset.kind === "preset") {
    return {
      imports: ["from megatron.bridge.recipes.utils.dataset_utils import build_dataset_config"],
      lines: [`    config.dataset = build_dataset_config(config, ${quoted(dataset.name)})`]
    }
  }
  const fields: ReadonlyArray<readonly [string, string | undefined]> = [["path_or_dataset", dataset.path], ["subset", dataset.subset], ["schema_adapter", dataset.adapter]]
  const source = `HFDatasetSourceConfig(${fields.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${quoted(value)}`])).join(", ")})`
  const note = "    # Not every dataset has further splits: dataset.do_validation=true behind finetune.py asks for them."
  return hasTower
    ? {
      imports: ["from megatron.bridge.data.builders import HFDatasetSourceConfig"],
      lines: [`    config.dataset.source = ${source}`, note, "    config.dataset.do_validation = False", "    config.dataset.do_test = False"]
    }
    : {
      imports: ["from megatron.bridge.data.builders import GPTSFTDatasetConfig, HFDatasetSourceConfig"],
      lines: [note, "    config.dataset = GPTSFTDatasetConfig(", "        seq_length=config.model.seq_length,", `        hf_dataset=${source},`, "        do_validation=False,", "        do_test=False,", "    )"]
    }
}

const standard = (s: StandardSetup): string => {
  const dataset = datasetStanza(s)
  const [row] = s.score.layout
  const fields: ReadonlyArray<readonly [string, Setting]> = [
    ["tensor_model_parallel_size", row!.tp],
    ["pipeline_model_parallel_size", row!.pp],
    ["context_parallel_size", row!.cp],
    ["expert_model_parallel_size", row!.ep],
    ["expert_tensor_parallel_size", row!.etp],
    ["seq_length", s.seqLength],
    ...providerFields(s),
    ...(s.mode === "sft" ? s.frozen.flatMap((part) => (FREEZE_FIELDS[part] === undefined ? [] : [[FREEZE_FIELDS[part], true] as const])) : [])
  ]
  return lines(
    "#!/usr/bin/env python3",
    `"""Fine-tune ${s.name} (${s.mode === "lora" ? "LoRA" : "all weights"}): the trainer's common configuration, a layout, and overrides.yaml."""`,
    "",
    "import argparse",
    "from pathlib import Path",
    "",
    "from megatron.bridge import AutoBridge",
    ...dataset.imports.filter((line) => line.includes(".data.")),
    `from megatron.bridge.recipes.common import ${s.recipe.base} as common`,
    ...dataset.imports.filter((line) => line.includes(".recipes.")),
    "from megatron.bridge.training.finetune import finetune",
    "from megatron.bridge.training.utils.omegaconf_utils import process_config_with_overrides",
    `from ${s.recipe.step} import forward_step`,
    "",
    "# Fields of the model's provider.",
    dict("MODEL", fields),
    "",
    `FREEZE_ROUTER = ${python(s.frozen.includes("router"))}`,
    "",
    "",
    "def parse_args() -> tuple[argparse.Namespace, list[str]]:",
    "    parser = argparse.ArgumentParser(description=__doc__)",
    `    parser.add_argument("--hf-model", required=True)`,
    `    parser.add_argument("--checkpoint-dir", required=True)`,
    `    weights = parser.add_mutually_exclusive_group(required=True)`,
    `    weights.add_argument("--pretrained-checkpoint")`,
    `    weights.add_argument("--load-checkpoint")`,
    "    return parser.parse_known_args()",
    "",
    "",
    ...FREEZE_ROUTERS,
    "",
    "",
    "def build_config(args: argparse.Namespace, overrides: list[str]):",
    "    config = common()",
    "    config.model = AutoBridge.from_hf_pretrained(args.hf_model).to_megatron_provider(load_weights=False)",
    "    for name, value in MODEL.items():",
    "        if not hasattr(config.model, name):",
    `            raise AttributeError(f"the model's provider has no field {name}")`,
    "        setattr(config.model, name, value)",
    "    if FREEZE_ROUTER:",
    "        config.model.register_pre_wrap_hook(freeze_routers)",
    "    config.checkpoint.save = args.checkpoint_dir",
    "    config.checkpoint.load = args.load_checkpoint",
    // LoRA needs its base when it goes on, too.
    s.mode === "lora"
      ? `    config.checkpoint.pretrained_checkpoint = args.pretrained_checkpoint or ${quoted(s.megatronPath)}`
      : "    config.checkpoint.pretrained_checkpoint = args.pretrained_checkpoint",
    s.hasTower ? "    config.dataset.hf_processor_path = args.hf_model" : "    config.tokenizer.tokenizer_model = args.hf_model",
    "    config.dataset.seq_length = config.model.seq_length",
    ...dataset.lines,
    "    path = Path(__file__).with_name(\"overrides.yaml\")",
    "    return process_config_with_overrides(config, config_filepath=str(path), cli_overrides=overrides or None)",
    "",
    "",
    "def main() -> None:",
    "    args, overrides = parse_args()",
    "    finetune(config=build_config(args, overrides), forward_step_func=forward_step)",
    "",
    "",
    `if __name__ == "__main__":`,
    "    main()"
  )
}

/** The Python program that every launcher starts. */
export const finetuneScript = (setup: Setup): string => (setup.form === "mimo" ? mimo(setup) : standard(setup))

/** Sections of the trainer's configuration for the standard form, as a YAML file that is merged over its common one. */
export const overridesYaml = (s: StandardSetup): string => {
  const sections: ReadonlyArray<readonly [string, ReadonlyArray<readonly [string, Setting]>]> = [
    ["train", [["train_iters", s.trainIters], ["global_batch_size", s.globalBatch], ["micro_batch_size", s.score.microBatch]]],
    ["optimizer", [["lr", s.lr], ["min_lr", s.minLr]]],
    ["scheduler", [["lr_warmup_iters", s.warmupIters], ["lr_decay_iters", s.trainIters]]],
    ["checkpoint", [["save_interval", s.saveInterval], ["ckpt_format", "torch_dist"], ["fully_parallel_save", true]]],
    ["dataset", [["seq_length", s.seqLength]]],
    ["rng", [["seed", s.seed]]],
    ...(s.mode === "lora" && s.lora ? [["peft", [["dim", s.lora.dim], ["alpha", s.lora.alpha]]] as const] : [])
  ]
  const yaml = (value: Setting): string => (value === null ? "null" : typeof value === "string" ? quoted(value) : String(value))
  const tree = new Map(sections.map(([name, fields]) => [name, fields.map(([field, value]) => `  ${field}: ${yaml(value)}`)]))
  return lines(
    "# Merged over the trainer's common configuration; KEY=VALUE behind finetune.py wins over this.",
    ...[...tree].flatMap(([name, fields]) => [`${name}:`, ...fields])
  )
}
