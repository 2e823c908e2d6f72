/** No bias that the forward pass uses is carried beside the trainer's model: it is a parameter of it, or the model is refused. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { bind } from "../../src/bridge/Conversion.ts"
import type { ModelDescription } from "../../src/bridge/Family.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { compileCarried } from "../../src/plan/match.ts"
import { FormatError } from "../../src/errors.ts"
import { standardModules } from "../../src/mimo/routes.ts"
import { type Toy, toys } from "../families/toys.ts"

const FLAGS = ["attention_bias", "mlp_bias", "use_bias", "use_qkv_bias", "bias", "include_bias", "include_qkv_bias", "mamba_proj_bias", "projectors_bias"]

type Section = { [key: string]: unknown }

/** The config with one of the flags set in every section about the language model. */
const withFlag = (section: Section, flag: string): Section => ({
  ...Object.fromEntries(Object.entries(section).map(([name, value]) =>
    [name, /^(thinker|text|llm|language)_config$/.test(name) ? withFlag(value as Section, flag) : value])),
  [flag]: true
})

const described = (toy: Toy, flag: string): ModelDescription | FormatError | undefined => {
  const config = withFlag(toy.config, flag)
  const family = families.find(config)
  const parsed = family.schema.safeParse(config)
  try {
    return parsed.success ? family.describe(parsed.data, noHeaders) : undefined
  } catch (error) {
    if (error instanceof FormatError) return error
    throw error
  }
}

const oneOfEach = [...new Map(toys.map((toy) => [toy.architecture, toy])).values()].map((toy) => [toy.architecture, toy] as const)

describe.each(oneOfEach)("%s", (_, toy) => {
  it.each(FLAGS)("%s", (flag) => {
    const found = described(toy, flag)
    if (found instanceof FormatError) return expect(found).toMatchObject({ code: "config/biases", place: { field: flag } })
    if (found === undefined) return
    const carried = compileCarried(found.carried)
    const { hf, parameters } = bind(standardModules(found))
    const beside = [...hf.keys()].filter((name) => name.endsWith(".weight") && carried(name.replace(/weight$/, "bias")))
    expect(beside).toEqual([])
    // Zeros are said, and only where the trainer has a bias that HF has not.
    const zeros = parameters.filter((p) => p.constant !== undefined)
    expect(zeros.every(({ parameter }) => /\.bias\d*$/.test(parameter.name))).toBe(true)
    expect(zeros.length > 0).toBe(found.zeroFilled !== undefined)
  })
})

it.each([
  ["DeepseekV3ForCausalLM", "attention_bias", "latent attention"],
  ["Gemma3ForCausalLM", "attention_bias", "normalises the outputs"],
  ["Qwen3_5MoeForCausalLM", "attention_bias", "shared experts"],
  ["BailingMoeV2ForCausalLM", "use_bias", "shared experts"],
  ["FalconH1ForCausalLM", "mlp_bias", "mixers"]
])("%s is refused with %s: its %s", (architecture, flag, reason) => {
  const refused = described(toys.find((toy) => toy.architecture === architecture)!, flag)
  expect(refused).toBeInstanceOf(FormatError)
  expect((refused as FormatError).message).toContain(reason)
})
