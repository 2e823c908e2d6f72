/**
 * What the trainer accepts and then does not do, or does too late: settings of a run that are refused before a file is written. The
 * numbers continue those of layouts, models and training. Sources: Megatron-Bridge, the MegatronMIMO loop and its example script.
 */
import type { Setting } from "./Setup.ts"

/** What was asked for, as far as a rule looks at it. */
export interface Wish {
  readonly form: "mimo" | "standard"
  readonly mode: "sft" | "lora"
  readonly trainIters: number
  readonly saveInterval: number
  readonly warmupIters: number
  /** Absent: as many as there are iterations. */
  readonly decayIters?: number
  readonly overrides: ReadonlyMap<string, Setting>
  /** The dataset has videos. */
  readonly video: boolean
  readonly trainable: boolean
}

interface SetupRule {
  readonly number: number
  /** What the trainer does with it. */
  readonly trainer: string
  readonly broken: (wish: Wish) => { readonly problem: string; readonly instead: string } | undefined
}

export interface BrokenSetup {
  readonly rule: number
  readonly trainer: string
  readonly problem: string
  readonly instead: string
}

/** A rule about one override of MegatronMIMO runs. */
const override = (number: number, pattern: RegExp, trainer: string, instead: string, refuses: (value: Setting) => boolean = () => true): SetupRule => ({
  number,
  trainer,
  broken: ({ form, overrides }) => {
    if (form !== "mimo") return undefined
    const found = [...overrides].find(([path, value]) => pattern.test(path) && refuses(value))
    return found === undefined ? undefined : { problem: `${found[0]}=${found[1]} has no effect, or a wrong one, on a MegatronMIMO run`, instead }
  }
})

const off = (value: Setting): boolean => value === null || value === false || value === "null" || value === "none"
const isOn = (value: Setting): boolean => !off(value)

export const SETUP_RULES: ReadonlyArray<SetupRule> = [
  {
    number: 40,
    trainer: "no file of the MegatronMIMO path reads `peft`: all weights train, without a word",
    broken: ({ form, mode }) => form === "mimo" && mode === "lora" ? { problem: "LoRA on a MegatronMIMO run", instead: "the standard form has LoRA: --standard writes it" } : undefined
  },
  override(41, /^peft(?:\.|$)/, "no file of the MegatronMIMO path reads `peft`: all weights train, without a word", "--mode lora --standard", isOn),
  override(42, /^train\.num_epochs$/, "ValueError: num_epochs is not supported", "--train-iters: samples × epochs ÷ global batch", isOn),
  {
    number: 43,
    trainer: "defaults of 200 warm-up and 300 000 decay iterations keep the learning rate near its start for the whole run",
    broken: ({ decayIters, trainIters, warmupIters }) =>
      warmupIters >= trainIters ? { problem: `${warmupIters} iterations of warm-up in a run of ${trainIters}`, instead: "a share of the run, e.g. 3 %" }
        : decayIters !== undefined && decayIters !== trainIters ? { problem: `the schedule decays over ${decayIters} iterations, the run has ${trainIters}`, instead: "the schedule ends with the run: leave it out" } : undefined
  },
  {
    number: 44,
    trainer: "save_interval=None: one save at the very end, and a crash before it loses the run",
    broken: ({ saveInterval, trainIters }) => saveInterval >= 1 && saveInterval <= trainIters ? undefined : { problem: `a save every ${saveInterval} iterations in a run of ${trainIters}`, instead: `1 to ${trainIters}` }
  },
  override(45, /^(?:validation\.|dataset\.do_validation$|dataset\.do_test$)/, "the iterator builder returns no validation iterator, so that nothing is evaluated", "evaluate exported checkpoints", isOn),
  override(46, /^mixed_precision(?:\.|$)/, "mixed-precision recipes are not resolved for MegatronMIMO: weights are cast to BF16, all of them", "leave it out", (v) => isOn(v) && v !== "bf16_mixed"),
  override(47, /^comm_overlap(?:\.|$)/, "communication overlap is skipped for MegatronMIMO", "leave it out", isOn),
  override(48, /fsdp/i, "NotImplementedError: FSDP is not supported", "the distributed optimizer is on", isOn),
  override(49, /^(?:dist|straggler|nvrx_straggler|ft|inprocess_restart)(?:\.|$)/, "the script starts NCCL itself; these sections are not read", "leave it out", isOn),
  override(50, /num_distributed_optimizer_instances$/, "num_distributed_optimizer_instances must be 1", "1", (v) => v !== 1),
  override(51, /^optimizer_config_override_provider(?:\.|$)/, "one OptimizerConfig serves all modules: no learning rate, clip or schedule of their own", "freeze parts with --freeze", isOn),
  override(52, /context_parallel_size$/, "the communicator between components asserts cp = 1, after the models are built", "1", (v) => v !== 1),
  override(53, /virtual_pipeline_model_parallel_size$/, "the schedule does not interleave; the size is ignored", "more stages, or fewer", isOn),
  override(54, /mtp_num_layers$/, "multi-token prediction is set to None, its weights are dropped", "leave it out: exports take the layers from the original with --mtp-from", (v) => isOn(v) && v !== 0),
  override(55, /^checkpoint\.(?:load|pretrained_checkpoint)$/, "after wrapping, keys have `.module.`, which imported checkpoints have not; load and pretrained_checkpoint exclude each other", "the launcher gives the right one: the imported weights at first, the newest save afterwards; --load-route ddp gives them as pretrained_checkpoint, with the names that it looks for"),
  override(56, /cuda_graph/, "CUDA graphs are not supported", "leave it out", isOn),
  override(57, /^dataset\.(?:enable_in_batch_packing|defer_in_batch_packing_to_step)$/, "packing needs both fields, and a [B, S] attention mask on every language stage: the example script sets them together", "leave them out"),
  {
    number: 58,
    trainer: "NotImplementedError: ranks that need no pixels read image sizes only, and raise on video",
    broken: ({ form, video }) => form === "mimo" && video ? { problem: "samples with video on a MegatronMIMO run", instead: "--standard, or images" } : undefined
  },
  {
    number: 59,
    trainer: "no released trainer builds this model's MegatronMIMO form",
    broken: ({ form, trainable }) => form === "mimo" && !trainable ? { problem: "a MegatronMIMO run of this model", instead: "--standard: one model under one layout" } : undefined
  }
]

/** Every rule that a wish breaks. */
export const brokenSetupRules = (wish: Wish): ReadonlyArray<BrokenSetup> =>
  SETUP_RULES.flatMap(({ broken, number, trainer }) => {
    const found = broken(wish)
    return found === undefined ? [] : [{ rule: number, trainer, ...found }]
  })
