/** Arguments of real runs, and arguments as other runs have them. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { providerOfArguments } from "../../src/arguments/providerFields.ts"
import { perLayerValue } from "../../src/arguments/perLayer.ts"
import { runLayout } from "../../src/arguments/runLayout.ts"
import { argumentsOf, type ArgumentValue, readArguments, TrainingArguments } from "../../src/arguments/TrainingArguments.ts"
import { COMMON_STATE } from "../../src/checkpoint/names.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { readObjectItem } from "../../src/torch/ObjectItem.ts"
import { PickleDict, PickleGlobal, PickleObject, type PickleValue } from "../../src/torch/PickleValue.ts"
import { PyFloat, PyOpaque } from "../../src/torch/PyValue.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"

const commonOf = async (name: string) => {
  const directory = join(trainingCheckpoint(name), "iter_0000003")
  const object = decodeMetadata(readFileSync(join(directory, ".metadata"))).objects.get(COMMON_STATE)!
  const bytes = readFileSync(join(directory, object.file))
  const [value] = await readObjectItem(object.length, async (at, count) => bytes.subarray(object.offset + at, object.offset + at + count))
  return value
}

const args = (values: Record<string, ArgumentValue>) =>
  new TrainingArguments(new Map(Object.entries({ num_layers: 4, hidden_size: 16, num_attention_heads: 4, ...values })))

describe("a run's arguments", () => {
  it("are all read, as the recorded facts have them", async () => {
    const read = argumentsOf(await commonOf("lm-moe-fully-reshardable-ep2"))!
    const [{ args: { $namespace: facts } }] = trainingFacts("lm-moe-fully-reshardable-ep2").objects[COMMON_STATE]!.content as [{ args: { $namespace: Record<string, unknown> } }]
    expect(read.size).toBe(Object.keys(facts).length)
    for (const [name, fact] of Object.entries(facts)) {
      const value = read.value(name)
      // Facts show the member of an integer enumeration as its value.
      if (typeof value === "object" && value !== null && "enumeration" in value) continue
      if (typeof fact === "number") expect([name, read.number(name)]).toEqual([name, fact])
      else if (fact === null || typeof fact !== "object") expect([name, value]).toEqual([name, fact])
      else expect([name, value]).not.toEqual([name, undefined])
    }
    expect(read.named("params_dtype")).toBe("torch.bfloat16")
    expect(read.value("attention_backend")).toEqual({ enumeration: "megatron.core.transformer.enums.AttnBackend", value: 5 })
  })

  it("describe a model in the names of a trainer's provider", async () => {
    const { fields, target } = providerOfArguments(argumentsOf(await commonOf("lm-moe-fully-reshardable-ep2"))!)
    expect(target).toMatch(/GPTModelProvider$/)
    expect(fields).toMatchObject({
      num_layers: 2, hidden_size: 16, num_query_groups: 2, kv_channels: 4, vocab_size: 40, num_moe_experts: 4, moe_ffn_hidden_size: 12, gated_linear_unit: true,
      activation_func: { $name: "torch.nn.functional.silu" }, share_embeddings_and_output_weights: false, params_dtype: { $name: "torch.bfloat16" }
    })
    // Every run has defaults for models that it is not.
    expect(Object.keys(fields).filter((name) => /lora|mamba|linear_key|dsa_|mtp_/.test(name))).toEqual([])
  })

  it("describe its layout", async () => {
    expect(runLayout(argumentsOf(await commonOf("lm-moe-fully-reshardable-ep2"))!)).toEqual({
      parallelism: { tp: 1, pp: 1, dp: 2, cp: 1, ep: 2, etp: 1, rankOffset: 0 }, virtualStages: 1, pipelineBeforeData: false, worldSize: 2
    })
    expect(runLayout(args({ pipeline_model_parallel_size: 2, num_layers_per_virtual_pipeline_stage: 1, world_size: 4, decoder_first_pipeline_num_layers: 1 }))).toMatchObject({
      virtualStages: 2, parallelism: { pp: 2, dp: 2, pipeline: { firstStageLayers: 1 } }
    })
    expect(runLayout(args({ pipeline_model_parallel_size: 2, pipeline_model_parallel_layout: [["embedding", "decoder"], ["decoder"], ["decoder"], ["decoder", "loss"]] }))).toMatchObject({
      virtualStages: 2, parallelism: { pipeline: { layout: "Et|t|t|tL" } }
    })
  })

  it("have earlier names, and values that stand for others", () => {
    const { fields } = providerOfArguments(args({
      norm_epsilon: new PyFloat(1e-6), apply_layernorm_1p: true, disable_bias_linear: true, group_query_attention: false, num_query_groups: 1, kv_channels: null,
      squared_relu: true, hybrid_override_pattern: "M*-M", untie_embeddings_and_output_weights: false
    }))
    expect(fields).toMatchObject({
      layernorm_epsilon: { $float: 1e-6 }, layernorm_zero_centered_gamma: true, add_bias_linear: false, num_query_groups: 4, kv_channels: 4, ffn_hidden_size: 64,
      activation_func: { $name: "megatron.core.activations.squared_relu" }, hybrid_layer_pattern: "M*-M", share_embeddings_and_output_weights: true
    })
  })

  it("say per layer what they say, also as expressions", () => {
    const frequency = (value: ArgumentValue) => perLayerValue(args({ moe_layer_freq: value }), "moe_layer_freq")
    expect([2, [0, 1], "2", "[0]*2+[1]*2", "([1]*2+[0])*2", null].map(frequency)).toEqual([2, [0, 1], 2, [0, 0, 1, 1], [1, 1, 0, 1, 1, 0], undefined])
    for (const wrong of ["[1", "[0]*99999999", "__import__('os')", "[1]*", "([1]", true, "((((((((((((((((((([1])))))))))))))))))))"]) {
      expect(() => frequency(wrong)).toThrow("neither a number nor a list")
    }
  })

  it("are refused where they do not describe the layers", () => {
    expect(() => providerOfArguments(args({ spec: ["my.module", "layer_spec"] }))).toThrow("specification of its own (my.module layer_spec)")
    expect(() => providerOfArguments(args({ heterogeneous_layers_config_encoded_json: "{}" }))).toThrow("differ from each other")
    expect(() => providerOfArguments(new TrainingArguments(new Map([["hidden_size", 16]])))).toThrow("cannot be described without this argument")
    expect(() => providerOfArguments(args({ layernorm_epsilon: "a" as ArgumentValue, hidden_size: "16" }))).toThrow("is not a number")
    expect(() => runLayout(args({ tensor_model_parallel_size: 0 }))).toThrow("is no number of ranks")
  })

  it("are inert: whatever is no plain value is left out, what is no namespace is none", () => {
    const namespace = (state: PickleValue | undefined, module = "argparse", name = "Namespace") => {
      const object = new PickleObject(new PickleGlobal(module, name), [])
      object.state = state
      return new PyOpaque(object)
    }
    const dict = new PickleDict()
    dict.extend(["a", new PickleObject(new PickleGlobal("m", "C"), [1, 2]), "b", new PickleDict(), "c", 1, 7, 8])
    const read = readArguments(namespace(dict))!
    expect([read.size, read.value("a"), read.value("b"), read.value("c")]).toEqual([3, undefined, undefined, 1])
    expect([namespace(dict, "os", "environ"), namespace(undefined), "args", undefined].map(readArguments)).toEqual([undefined, undefined, undefined, undefined])
    const cycle: Array<PickleValue> = []
    cycle.push(cycle as unknown as PickleValue)
    const looped = new PickleDict()
    looped.extend(["loop", cycle as unknown as PickleValue])
    expect(readArguments(namespace(looped))!.value("loop")).toBeUndefined()
  })
})
