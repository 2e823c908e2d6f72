/** Every trap of the trainer is refused with its number; what is no trap is not. */
import { describe, expect, it } from "vitest"
import { brokenSetupRules, SETUP_RULES, type Wish } from "../../src/setup/rules.ts"
import type { Setting } from "../../src/setup/Setup.ts"

const wish = (change: Partial<Wish>, overrides: Readonly<Record<string, Setting>> = {}): Wish => ({
  form: "mimo", mode: "sft", trainIters: 500, saveInterval: 50, warmupIters: 15, video: false, trainable: true, ...change, overrides: new Map(Object.entries(overrides))
})
const numbers = (w: Wish): ReadonlyArray<number> => brokenSetupRules(w).map((b) => b.rule)

/** Rule, what breaks it, and something near that does not. */
const overrides: ReadonlyArray<readonly [rule: number, breaks: Readonly<Record<string, Setting>>, stands: Readonly<Record<string, Setting>>]> = [
  [41, { "peft.dim": 8 }, { peft: null }],
  [42, { "train.num_epochs": 3 }, { "train.num_epochs": null }],
  [45, { "validation.eval_interval": 100 }, { "validation.eval_interval": null }],
  [45, { "dataset.do_validation": true }, { "dataset.do_validation": false }],
  [46, { mixed_precision: "bf16_with_fp8_mixed" }, { mixed_precision: "bf16_mixed" }],
  [47, { "comm_overlap.tp_comm_overlap": true }, { comm_overlap: null }],
  [48, { "ddp.use_megatron_fsdp": true }, { "ddp.use_megatron_fsdp": false }],
  [49, { "straggler.enabled": true }, { straggler: null }],
  [50, { "ddp.num_distributed_optimizer_instances": 2 }, { "ddp.num_distributed_optimizer_instances": 1 }],
  [51, { optimizer_config_override_provider: "mine" }, { optimizer_config_override_provider: null }],
  [52, { "model.context_parallel_size": 2 }, { "model.context_parallel_size": 1 }],
  [53, { "model.virtual_pipeline_model_parallel_size": 2 }, { "model.virtual_pipeline_model_parallel_size": null }],
  [54, { "model.mtp_num_layers": 1 }, { "model.mtp_num_layers": 0 }],
  [55, { "checkpoint.pretrained_checkpoint": "/x" }, { "checkpoint.save_optim": true }],
  [55, { "checkpoint.load": "/x" }, { "checkpoint.load_optim": true }],
  [56, { "model.enable_cuda_graph": true }, { "model.enable_cuda_graph": false }],
  [57, { "dataset.enable_in_batch_packing": true }, { "dataset.num_workers": 4 }]
]

describe("traps of a MegatronMIMO run", () => {
  it("numbers follow one another", () => {
    expect(SETUP_RULES.map((r) => r.number)).toEqual(Array.from({ length: SETUP_RULES.length }, (_, i) => 40 + i))
  })

  it("a usual run breaks none", () => expect(numbers(wish({}))).toEqual([]))

  it.each(overrides)("rule %i: %o", (rule, breaks, stands) => {
    expect(numbers(wish({}, breaks))).toEqual([rule])
    expect(numbers(wish({}, stands))).toEqual([])
    // The standard form does what it is told.
    expect(numbers(wish({ form: "standard" }, breaks))).toEqual([])
  })

  it.each([
    [40, { mode: "lora" }],
    [43, { warmupIters: 500 }],
    [43, { decayIters: 300_000 }],
    [44, { saveInterval: 501 }],
    [44, { saveInterval: 0 }],
    [58, { video: true }],
    [59, { trainable: false }]
  ] as const satisfies ReadonlyArray<readonly [number, Partial<Wish>]>)("rule %i: %o", (rule, change) => expect(numbers(wish(change))).toEqual([rule]))

  it("the shipped defaults would break two", () => {
    expect(numbers(wish({ trainIters: 20, warmupIters: 200, saveInterval: 0 }))).toEqual([43, 44])
  })

  it("every rule has a test", () => {
    const tested = new Set([...overrides.map(([rule]) => rule), 40, 43, 44, 58, 59])
    expect(SETUP_RULES.filter((r) => !tested.has(r.number))).toEqual([])
  })
})
