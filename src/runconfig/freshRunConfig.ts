/** `run_config.yaml` of a freshly converted model: from its `model` section the trainer rebuilds the model (torch-dist-format.md F.4). */
import { type AdapterSettings, peftSection } from "./adapterSection.ts"
import type { LayoutComponent } from "../parallel/Layout.ts"
import { CHECKPOINT_CONFIG, CONFIG_CONTAINER, MIMO_PROVIDER, TOKENIZER_CONFIG } from "./classes.ts"
import { complete } from "./derived.ts"
import { LANGUAGE, mimoParallelism, modelParallelism } from "./parallelism.ts"
import { type Provider, pythonObject, type PythonValue } from "./Provider.ts"
import { toYaml } from "./toYaml.ts"

const modelSection = (provider: Provider, layout: ReadonlyArray<LayoutComponent>, form: "mimo" | "standard", own: Provider["fields"]): PythonValue => {
  if (form === "standard") {
    const { parallelism } = layout[0]!
    return pythonObject(provider.target, { ...complete(provider, parallelism), ...modelParallelism(parallelism), ...own })
  }
  const language = layout.find(({ name }) => name === LANGUAGE)
  return pythonObject(MIMO_PROVIDER, {
    // The MIMO provider makes it final itself. Its model has no multi-token-prediction module.
    standard_provider: pythonObject(provider.target, {
      ...provider.fields,
      ...(language && modelParallelism(language.parallelism)),
      mtp_num_layers: null
    }),
    ...mimoFields(provider.fields["bf16"], provider.fields["fp16"]),
    ...own,
    megatron_mimo_parallelism_config: mimoParallelism(layout)
  })
}

/** What the trainer derives from the standard provider is empty; the reference writes it so too. */
export const mimoFields = (bf16: PythonValue | undefined, fp16: PythonValue | undefined): Readonly<Record<string, PythonValue>> => ({
  language_model_spec: null,
  modality_submodules_spec: {},
  special_token_ids: {},
  bf16: bf16 ?? true,
  fp16: fp16 ?? false
})

/** What a checkpoint holds beside the model, and the tokenizer of the run. */
export interface SavedState {
  readonly optimizer: boolean
  readonly rng: boolean
  readonly fullyParallel: boolean
  readonly tokenizer: Readonly<Record<string, PythonValue>>
}

const CONVERTED: SavedState = { optimizer: false, rng: false, fullyParallel: false, tokenizer: { tokenizer_type: "HuggingFaceTokenizer" } }

/**
 * The text of `run_config.yaml` for a freshly converted model, or for one that a run `saved`. Besides `model`, only the fields that a
 * resuming trainer indexes without a default are written (`BR:training/checkpointing.py` 2822-2890). With `adapters`: of a run that
 * trains them; `model`: further fields of the model as the form has it.
 */
export const freshRunConfig = (
  provider: Provider,
  layout: ReadonlyArray<LayoutComponent>,
  form: "mimo" | "standard",
  { adapters, model = {}, saved = CONVERTED }: { readonly adapters?: AdapterSettings | undefined; readonly model?: Provider["fields"]; readonly saved?: SavedState } = {}
): string =>
  toYaml(pythonObject(CONFIG_CONTAINER, {
    model: modelSection(provider, layout, form, model),
    checkpoint: pythonObject(CHECKPOINT_CONFIG, {
      ckpt_format: "torch_dist",
      fully_parallel_save: saved.fullyParallel,
      save_optim: saved.optimizer,
      save_rng: saved.rng,
      ...(adapters?.base === undefined ? {} : { pretrained_checkpoint: adapters.base })
    }),
    ...(adapters ? { peft: peftSection(adapters) } : {}),
    tokenizer: pythonObject(TOKENIZER_CONFIG, saved.tokenizer)
  }))
