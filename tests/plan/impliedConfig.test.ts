/** The way back from a trainer's fields to config.json, over every toy of a family that has one; and what it refuses. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { ModelFields } from "../../src/bridge/ModelFields.ts"
import { impliedConfig } from "../../src/plan/impliedConfig.ts"
import type { Provider } from "../../src/runconfig/Provider.ts"
import { describeModel } from "../../src/space/describeModel.ts"
import { type HfConfig, noHeaders } from "../../src/space/HfSource.ts"
import { type Toy, toys } from "../families/toys.ts"

const BESIDE = { dtype: "bfloat16", tokens: {}, path: "run_config.yaml" } as const

const fieldsOf = (toy: Pick<Toy, "config">): Provider["fields"] => {
  const family = families.find(toy.config)
  return family.describe(family.schema.parse(toy.config), noHeaders).provider.fields
}

const implied = (fields: Provider["fields"], architecture?: string): HfConfig =>
  impliedConfig(families, new ModelFields(fields), { ...BESIDE, ...(architecture === undefined ? {} : { architecture }) })

const parameters = (config: HfConfig) => {
  const { model } = describeModel(families.find(config.json), config, noHeaders)
  return model.flatMap((entry) => (entry.kind === "parameter" ? [[entry.name, entry.shape]] : []))
}

const asConfig = ({ architecture, config, configText }: Toy): HfConfig =>
  ({ directory: "", path: "config.json", bytes: Buffer.from(configText), json: config as never, architecture })

const withWayBack = toys.filter((toy) => families.find(toy.config).impliedConfig).map((toy) => [toy.name, toy] as const)
/** Without a window its class computes what another one does. */
const SAME: Readonly<Record<string, string>> = { MistralForCausalLM: "LlamaForCausalLM" }

describe("config.json follows from a trainer's fields", () => {
  it.each(withWayBack)("%s", (_, toy) => {
    const config = implied(fieldsOf(toy))
    expect(config.architecture).toBe(SAME[toy.architecture] ?? toy.architecture)
    expect(parameters(config)).toEqual(parameters(asConfig(toy)))
  })

  it("for families of every kind", () => {
    const architectures = new Set(withWayBack.map(([, toy]) => toy.architecture))
    expect([...architectures].sort()).toEqual([
      "ArceeForCausalLM", "DeepseekV3ForCausalLM", "HeliumForCausalLM", "Jais2ForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
      "NemotronForCausalLM", "Qwen2ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "SmolLM3ForCausalLM", "Starcoder2ForCausalLM"
    ])
  })

  const llama = fieldsOf(toys.find(({ architecture }) => architecture === "LlamaForCausalLM")!)

  it("with a window, stretched positions and partly rotated heads", () => {
    expect(implied({ ...llama, window_size: [31, 0] }).json).toMatchObject({ architectures: ["MistralForCausalLM"], sliding_window: 32 })
    expect(implied({ ...llama, rope_scaling: true, rope_scaling_factor: { $float: 8 } }).json).toMatchObject({ rope_scaling: { rope_type: "llama3", factor: 8 } })
    const yarn = { position_embedding_type: "yarn", yarn_rotary_scaling_factor: { $float: 4 }, yarn_original_max_position_embeddings: 4096 }
    expect(implied({ ...llama, ...yarn }).json).toMatchObject({ rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 4096 } })
  })

  it("or is refused, with what would differ", () => {
    const refused = (change: Provider["fields"], architecture?: string) => {
      try {
        return implied({ ...llama, ...change }, architecture).architecture
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(refused({ activation_func: { $name: "torch.nn.functional.gelu" }, gated_linear_unit: false })).toContain("gated_linear_unit false (there true)")
    expect(refused({ softmax_type: "learnable" })).toContain("LlamaForCausalLM: softmax_type \"learnable\" (there \"vanilla\")")
    expect(refused({ rotary_interleaved: true }, "LlamaForCausalLM")).toContain("rotary_interleaved true (there false)")
    expect(refused({ position_embedding_type: "learned_absolute" })).toContain("position_embedding_type")
    expect(refused({ qk_layernorm: true }, "LlamaForCausalLM")).toContain("qk_layernorm true (there false)")
    expect(refused({}, "NoSuchModel")).toContain("It follows for ArceeForCausalLM, DeepseekV3ForCausalLM, ")
  })
})
