/** What the trainer refuses at construction is refused here; the numbers are those of the table. */
import { describe, expect, it } from "vitest"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { type BuiltModule, CONFIG_RULES, MODULE_RULES, validateModule } from "../../src/parallel/ModelRules.ts"
import type { ModuleParallelism } from "../../src/parallel/ModuleParallelism.ts"
import { parallelism } from "./randomParallelism.ts"
import { refusal } from "./refusal.ts"

const DENSE = { num_attention_heads: 12, num_query_groups: 6, num_layers: 4, add_bias_linear: false } as TransformerConfig
const EXPERTS = { ...DENSE, num_moe_experts: 8 }
const DELTA = { ...DENSE, linear_attention_freq: [1, 0], linear_num_key_heads: 4, linear_num_value_heads: 8 }
const MAMBA = { ...DENSE, mamba_num_heads: 12, mamba_num_groups: 4 }

interface Situation extends Partial<Omit<BuiltModule, "component" | "configs">> {
  readonly config?: TransformerConfig
  readonly p: Partial<ModuleParallelism>
}

const built = ({ config = DENSE, p, ...others }: Situation): BuiltModule => ({
  component: { name: "language", parallelism: parallelism(p) },
  configs: [DENSE, config],
  isTower: false,
  form: "standard",
  builder: "GPTModelProvider",
  refuses: [],
  hybridPattern: false,
  ...others
})

/** Per rule: what it refuses with which words, and what it lets pass. */
const CASES: ReadonlyArray<readonly [rule: number, refused: Situation, problem: string, allowed: Situation]> = [
  [11, { p: { tp: 8 } }, "num_attention_heads 12 is not divisible by tp=8", { p: { tp: 6 } }],
  [12, { p: { tp: 4 } }, "num_query_groups 6 is neither a multiple nor a divisor of tp=4", { p: { tp: 12 } }],
  [13, { config: DELTA, p: { tp: 3 } }, "linear_num_key_heads 4 is not divisible by tp·cp=3", { config: DELTA, p: { tp: 2, cp: 2 } }],
  [13, { config: { ...DELTA, linear_num_key_heads: 12 }, p: { tp: 3 } }, "linear_num_value_heads 8 is not divisible by tp·cp=3", { config: { ...DELTA, linear_attention_freq: [0, 0] }, p: { tp: 3 } }],
  [14, { config: MAMBA, p: { tp: 2, cp: 4 } }, "mamba_num_heads 12 is not divisible by tp·cp=8", { config: MAMBA, p: { tp: 2, cp: 3 } }],
  [14, { config: MAMBA, p: { tp: 3 } }, "mamba_num_groups 4 is not divisible by tp=3", { config: MAMBA, p: { tp: 2 } }],
  [15, { config: EXPERTS, p: { ep: 3, dp: 3 } }, "num_moe_experts 8 is not divisible by ep=3", { config: EXPERTS, p: { ep: 4, dp: 4 } }],
  [16, { config: { ...EXPERTS, add_bias_linear: true }, p: { tp: 2, etp: 2 } }, "experts with biases (add_bias_linear) under etp=2", { config: EXPERTS, p: { tp: 2, etp: 2 } }],
  [17, { p: { tp: 12 }, refuses: ["more-tp-than-groups"] }, "tp=12 is more than num_query_groups 6", { p: { tp: 6 }, refuses: ["more-tp-than-groups"] }],
  [18, { p: { ep: 2, dp: 2 } }, "ep=2, but there are no experts", { config: EXPERTS, p: { ep: 2, dp: 2 } }],
  [19, { p: { cp: 4 }, seqLength: 4100 }, "seq_length 4100 is not divisible by 2·cp=8", { p: { cp: 4 }, seqLength: 4096 }],
  [20, { p: { pp: 2 }, refuses: ["pipeline"] }, "pp=2", { p: { tp: 2 }, refuses: ["pipeline"] }],
  [21, { p: { cp: 2 }, refuses: ["context"] }, "cp=2", { p: { tp: 2 }, refuses: ["context"] }],
  [22, { p: { pp: 2, pipeline: { lossAsStage: true } }, isTower: true }, "an uneven pipeline", { p: { pp: 2 }, isTower: true }],
  [23, { p: { pp: 2, pipeline: { lossAsStage: true } }, hybridPattern: true }, "a layout, or the embedding or the loss as stages", { p: { pp: 2, pipeline: { firstStageLayers: 3 } }, hybridPattern: true }],
  [24, { p: { pp: 2, pipeline: { layout: "Et|t|t|tL" } }, form: "mimo" }, "a layout of 4 stages with pp=2", { p: { pp: 2, pipeline: { layout: "Et|t|t|tL" } } }]
]

describe("a layout under a model", () => {
  it.each(CASES)("rule %i", (number, refused, problem, allowed) => {
    const message = refusal(() => validateModule(built(refused)))
    expect(message).toContain(`component language: ${problem}\n`)
    expect(message).toContain(`rule ${number} of the trainer's GPTModelProvider: `)
    expect(() => validateModule(built(allowed))).not.toThrow()
  })

  it("has a case for every rule, and every number once", () => {
    const numbers = [...CONFIG_RULES, ...MODULE_RULES].map((rule) => rule.number)
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 11 + i))
    expect([...new Set(CASES.map(([number]) => number))]).toEqual(numbers)
  })

  it("is checked with every configuration of the component", () => {
    expect(refusal(() => validateModule({ ...built({ p: { tp: 4 } }), configs: [{ ...DENSE, num_query_groups: 4 }, { ...DENSE, num_query_groups: 3 }] })))
      .toContain("num_query_groups 3")
  })
})
