/** Tasks of every toy: each tensor of the model once, names as ranks and as the whole model have them, in the order of either bridge. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { arrange } from "../../src/api/requests.ts"
import { bind } from "../../src/bridge/Conversion.ts"
import { modulesOf } from "../../src/plan/describe.ts"
import { laidOut } from "../../src/plan/layoutChecks.ts"
import { describeModel } from "../../src/space/describeModel.ts"
import { headersOf } from "../../src/space/HfSource.ts"
import { openedWeights } from "../../src/space/openedWeights.ts"
import { CONVENTIONS } from "../../src/weights/conventions.ts"
import { freezeSet, frozenTensors } from "../../src/plan/FreezeSet.ts"
import { placedTasks } from "../../src/weights/tasks.ts"
import { sourceOf, type Toy, toys } from "../families/toys.ts"

const described = (toy: Toy) => {
  const source = sourceOf(toy, toy.tensors)
  const description = describeModel(families.find(toy.config), source, headersOf(openedWeights(source.weights, source)))
  const modules = modulesOf("standard", description)
  const placed = laidOut(modules, description, "standard", arrange({ standard: true }).layout(["model"]))
  const { parameters } = bind(modules)
  const tasksOf = (freeze: ReadonlyArray<string>) => placedTasks(parameters, placed, freezeSet(description, "standard", freeze)).map(({ task }) => task)
  return { description, tasksOf }
}

const cases = toys.map((toy) => [toy.name, toy] as const)

/** The key by which Megatron-Bridge sorts, as its own code has it. */
const sortKey = (name: string): readonly [number, number, string] => {
  const numbers: Array<number> = []
  const layer = name.match(/layers\.(\d+)/)
  if (layer) numbers.push(Number(layer[1]))
  const expert = name.match(/(?:bias|weight)(\d+)/)
  const local = name.match(/local_experts\.(\d+)/)
  if (expert) numbers.push(Number(expert[1]))
  else if (local) numbers.push(Number(local[1]))
  while (numbers.length < 2) numbers.push(-1)
  return [numbers[0]!, numbers[1]!, name]
}

describe.each(cases)("%s", (_, toy) => {
  it("both bridges have the same tasks, each in its order; parts of the model freeze their own parameters, and all parts together all", () => {
    const { description, tasksOf } = described(toy)
    const tasks = tasksOf([])
    const names = tasks.map(({ globalParamName }) => globalParamName)
    expect(new Set(names).size).toBe(names.length)
    // In one stage a module's own order is that of the pipeline.
    expect(CONVENTIONS.mbridge.order(tasks)).toEqual(tasks)
    const keys = CONVENTIONS["megatron-bridge"].order(tasks).map(({ globalParamName }) => sortKey(globalParamName))
    for (let i = 1; i < keys.length; i++) {
      const [a, b] = [keys[i - 1]!, keys[i]!]
      expect(a[0] < b[0] || (a[0] === b[0] && (a[1] < b[1] || (a[1] === b[1] && a[2] < b[2]))), `${a[2]} before ${b[2]}`).toBe(true)
    }

    const parts = ["language", "encoders", "projections"].filter((part) => {
      try {
        return freezeSet(description, "standard", [part]) !== undefined
      } catch {
        return false
      }
    })
    const frozenBy = (names: ReadonlyArray<string>) => tasksOf(names).filter(({ trainable }) => !trainable).map(({ globalParamName }) => globalParamName)
    const each = parts.map((part) => frozenBy([part]))
    expect(new Set(each.flat()).size).toBe(each.flat().length)
    // The bias of routers is moved by the trainer itself.
    const moved = tasks.map(({ globalParamName }) => globalParamName).filter((name) => name.endsWith("router.expert_bias"))
    expect([...each.flat(), ...moved].sort()).toEqual(tasks.map(({ globalParamName }) => globalParamName).sort())
    const frozen = frozenTensors(description, parts).names
    const free = new Set(tasks.filter(({ globalParamName }) => moved.includes(globalParamName)).flatMap(({ mapping }) => mapping.hfParams))
    for (const { mapping } of tasks) for (const name of mapping.hfParams) expect(frozen.has(name), name).toBe(!free.has(name))
  })
})

it("layers are counted from the first of their chunk, experts from the first of their rank", () => {
  const config = {
    architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, vocab_size: 128,
    rms_norm_eps: 1e-6, num_hidden_layers: 8, intermediate_size: 64, moe_intermediate_size: 32, num_experts: 4, num_experts_per_tok: 2, tie_word_embeddings: false, dtype: "bfloat16"
  }
  const toy: Toy = { name: "", architecture: "Qwen3MoeForCausalLM", config, configText: JSON.stringify(config), tensors: [] }
  const source = { directory: "/toy", path: "/toy/config.json", bytes: Buffer.from(toy.configText), json: config, architecture: toy.architecture }
  const description = describeModel(families.find(config), source, { names: [], tensor: () => undefined })
  const modules = modulesOf("standard", description)
  const layout = arrange({ pp: 2, ep: 2, pipeline: { virtualStages: 2 } }).layout(["model"])
  const tasks = placedTasks(bind(modules).parameters, laidOut(modules, description, "standard", layout), () => false).map(({ task }) => task)
  const find = (name: string) => tasks.find(({ globalParamName }) => globalParamName === name)!
  expect(find("decoder.layers.5.mlp.experts.linear_fc1.weight3")).toMatchObject({ paramName: "decoder.layers.1.mlp.experts.linear_fc1.weight1", ppRank: 0, vpStage: 1, epRank: 1 })
  expect(find("decoder.layers.6.self_attention.linear_qkv.weight")).toMatchObject({ paramName: "decoder.layers.0.self_attention.linear_qkv.weight", ppRank: 1, vpStage: 1, partitionDim: 0 })
  expect(find("embedding.word_embeddings.weight")).toMatchObject({ ppRank: 0, vpStage: 0 })
  expect(find("output_layer.weight")).toMatchObject({ ppRank: 1, vpStage: 1 })
  // mbridge goes from rank to rank, through all chunks of each; Megatron-Bridge from layer to layer.
  const layersOf = (order: typeof tasks) => [...new Set(order.flatMap(({ globalParamName }) => /layers\.(\d+)/.exec(globalParamName)?.[1] ?? []))].map(Number)
  expect(layersOf([...CONVENTIONS.mbridge.order(tasks)])).toEqual([0, 1, 4, 5, 2, 3, 6, 7])
  expect(layersOf([...CONVENTIONS["megatron-bridge"].order(tasks)])).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})
