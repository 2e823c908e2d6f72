/** The typed modules of every test model agree with its tensors: by component, by block, and in the sizes of its towers. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { openedWeights } from "../../src/space/openedWeights.ts"
import { describeSource } from "../../src/plan/importRelation.ts"
import { componentOf } from "../../src/mimo/routing.ts"
import type { PlacedBlock } from "../../src/model/Block.ts"
import type { ModelModule } from "../../src/model/ModelModule.ts"
import type { Parameter } from "../../src/model/Parameter.ts"
import { importOf } from "./inMemory.ts"
import { sourceOf, toys } from "./toys.ts"
import { blockWeights, towerLayerWeights } from "./weightsOf.ts"

const volume = (shape: ReadonlyArray<number>): number => shape.reduce((n, extent) => n * extent, 1)
const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((n, m) => n + m, 0)

const parametersOf = ({ entries }: ModelModule): ReadonlyArray<Parameter> => entries.flatMap((entry) => (entry.kind === "parameter" ? [entry] : []))

/** A matrix of a linear layer; its bias, norms, convolutions and tables are none. */
const isMatrix = ({ integer, name, shape }: Parameter): boolean =>
  shape.length === 2 && !integer && /\.(weight\d*|linear_o_group_proj|gate_weight)$/.test(name) && !/layernorm|norm\.weight$/.test(name)

/** The innermost block that a parameter is part of. */
const blockAt = (blocks: ReadonlyArray<PlacedBlock>, name: string): PlacedBlock | undefined =>
  blocks.filter(({ path }) => name.startsWith(path)).sort((a, b) => b.path.length - a.path.length)[0]

/** What a language model has beside its blocks, and what a numbered layer has beside its attention and MLP. */
const BESIDE = /(^|\.)(word_embeddings|output_layer|eh_proj|e_proj|h_proj|mapping_proj|per_layer_\w+|\w+_res_proj)\.weight$/

describe.each(toys.map((toy) => [toy.name, toy] as const))("%s", (_, toy) => {
  const { components, encoder, model, modules } = describeSource(families.find(toy.config), sourceOf(toy, toy.tensors)).description

  it("has one language model, unless it is an encoder, and modules in its components", () => {
    expect(modules.filter((m) => m.kind === "language").length).toBe(encoder === undefined ? 1 : 0)
    expect(modules.flatMap((m) => m.entries)).toEqual(model)
    for (const module of modules) {
      expect(module.component, module.path).toBeDefined()
      if (components.length === 0) continue
      const places = new Set(parametersOf(module).map(({ name }) => componentOf(components, "standard", name)))
      expect([...places], module.path).toEqual([module.component])
    }
  })

  it("its modules hold as much as their tensors, by component", () => {
    const { conversion } = importOf(toy)
    const elements = new Map<string, number>()
    const tensors = new Map<string, number>()
    const add = (to: Map<string, number>, component: string, n: number) => to.set(component, (to.get(component) ?? 0) + n)
    const source = sourceOf(toy, toy.tensors)
    const stored = new Map([...openedWeights(source.weights, source).tensors.values()].map(({ name, shape }) => [name, volume(shape)]))
    const bound = new Map(conversion.parameters.map((p) => [p.parameter.name, p]))
    for (const module of modules) {
      for (const { name, shape } of parametersOf(module)) {
        const { copies, constant, tensors: own } = bound.get(name)!
        // Rows that repeat others, or are constant, have no tensor.
        const repeated = sum(copies.filter(({ echo }) => echo).map((copy) => volume(copy.shape)))
        add(elements, module.component!, constant === undefined ? volume(shape) - repeated : 0)
        for (const tensor of own) {
          add(tensors, module.component!, stored.get(tensor.name) ?? 0)
          stored.delete(tensor.name)
        }
      }
    }
    expect(elements).toEqual(tensors)
  })

  it("every block has the matrices that its sizes say", () => {
    for (const module of modules) {
      const found = new Map<PlacedBlock, number>(module.blocks.map((block) => [block, 0]))
      const beside: Array<string> = []
      for (const parameter of parametersOf(module).filter(isMatrix)) {
        const block = blockAt(module.blocks, parameter.name)
        if (block) found.set(block, found.get(block)! + volume(parameter.shape))
        else beside.push(parameter.name)
      }
      for (const [{ block, path }, weights] of found) expect(weights, `${path} ${JSON.stringify(block)}`).toBe(blockWeights(block))
      if (module.kind === "language") expect(beside.filter((name) => !BESIDE.test(name))).toEqual([])
    }
  })

  it("a language model has the layers, the vocabulary and the experts that it says", () => {
    if (encoder !== undefined) return
    const { blocks, config } = modules.find((m) => m.kind === "language")!
    const layers = new Set(blocks.filter(({ mtp }) => !mtp).map(({ layer }) => layer))
    expect([...layers].every((layer) => layer !== undefined && layer < config.num_layers)).toBe(true)
    expect(blocks.some(({ mtp }) => mtp)).toBe((config.mtp_num_layers ?? 0) > 0)
    const experts = blocks.flatMap(({ block }) => (block.kind === "experts" ? [block] : []))
    for (const block of experts) {
      expect(block.experts).toBe(config.num_moe_experts)
      expect(block.perToken, "experts per token").toBeLessThanOrEqual(block.experts)
    }
    // A pattern of layers may have none although config.json sizes them.
    const patterned = blocks.some(({ block }) => block.kind === "mamba")
    if (config.num_moe_experts && !patterned) expect(experts.length).toBeGreaterThan(0)
  })

  it("a tower has the layers that its sizes say", () => {
    for (const module of modules) {
      if (module.kind !== "vision" && module.kind !== "audio") continue
      const { sizes } = module
      const numbered = parametersOf(module).filter(({ name }) => /(^|\.)(layers|blocks|resblocks)\.\d+\./.test(name) && !/merger|subsampling/.test(name))
      const matrices = numbered.filter(({ name, shape }) => (shape.length === 2 || /pointwise_conv/.test(name)) && name.endsWith("weight") && !/depthwise/.test(name))
      expect(sum(matrices.map(({ shape }) => volume(shape))), module.path).toBe(sizes.layers * towerLayerWeights(sizes))
      const patch = module.kind === "vision" ? sizes as Extract<ModelModule, { kind: "vision" }>["sizes"] : undefined
      if (!patch) continue
      const pixels = patch.patch.height * patch.patch.width * patch.patch.channels
      const embedding = parametersOf(module).filter(({ name, shape }) => /(patch_embed\w*|embedder|conv1|patch_conv|input_proj)\b.*weight$/.test(name) && shape.length >= 2)
      expect(embedding.map(({ shape }) => volume(shape) / sizes.hidden), module.path).toContain(pixels * (embedding.length > 1 ? 1 : patch.patch.frames))
    }
  })
})

it("explicit routes move modules to other components", () => {
  const toy = toys.find((t) => t.name.startsWith("mistral3"))!
  const rerouted = families.withMimoRoutes(toy.architecture, () => [
    { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
    { name: "pixels", sourcePrefix: "vision_tower.transformer.", targetModulePath: "modality_submodules.pixels.encoders.layers" },
    { name: "glue", sourcePrefix: "multi_modal_projector.", targetModulePath: "modality_submodules.glue.encoders.projector" }
  ])
  const family = rerouted.find(toy.config)
  const { modules } = family.describe(family.schema.parse(toy.config), noHeaders)
  expect(modules.map(({ component, path }) => [path, component])).toEqual([["vision_tower", undefined], ["multi_modal_projector", "glue"], ["language_model", "language"]])
})
