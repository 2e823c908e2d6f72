/** Folders of ranks are one model: whatever their layout, the tensors that come out are those that went in. */
import { Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { openCheckpoint } from "../../../src/space/Checkpoint.ts"
import { requireEqualReplicas } from "../../../src/checkpoint/legacy/replicas.ts"
import { digest } from "../../../src/engine/index.ts"
import { Disk } from "../../../src/io/Disk.ts"
import { gpt } from "../../../src/model/gpt.ts"
import { hybrid, hybridLayer } from "../../../src/model/hybrid.ts"
import type { Parameter } from "../../../src/model/Parameter.ts"
import { Scope } from "../../../src/model/Scope.ts"
import type { TransformerConfig } from "../../../src/model/TransformerConfig.ts"
import { openSpace } from "../../../src/space/openSpace.ts"
import { openTensors } from "../../../src/space/openTensors.ts"
import { type Layout, type ModelToWrite, type Values, valuesOf, writeRanks, type WriteOptions } from "./writeRanks.ts"

const work = mkdtempSync(join(tmpdir(), "ranks-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
let number = 0
const folder = (): string => join(work, String(number++))

const run = <A, E>(program: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))

const dense: TransformerConfig = {
  num_layers: 4, hidden_size: 8, num_attention_heads: 4, num_query_groups: 2, kv_channels: 4, ffn_hidden_size: 12, vocab_size: 16, normalization: "RMSNorm",
  gated_linear_unit: true, add_bias_linear: false, add_qkv_bias: false, qk_layernorm: true, share_embeddings_and_output_weights: false
}
const biased: TransformerConfig = { ...dense, normalization: "LayerNorm", add_bias_linear: true, add_qkv_bias: true, gated_linear_unit: false }
const moe: TransformerConfig = { ...dense, num_moe_experts: 4, moe_ffn_hidden_size: 4, moe_shared_expert_intermediate_size: 8, moe_router_enable_expert_bias: true }
const linear: TransformerConfig = {
  ...dense, linear_attention_freq: [1, 1, 1, 0], linear_num_key_heads: 2, linear_num_value_heads: 4, linear_key_head_dim: 2, linear_value_head_dim: 3, linear_conv_kernel_dim: 2
}
const latent: TransformerConfig = { ...dense, multi_latent_attention: true, q_lora_rank: 6, kv_lora_rank: 4, qk_head_dim: 4, qk_pos_emb_head_dim: 2, v_head_dim: 4 }
const mamba: TransformerConfig = { ...dense, mamba_num_heads: 4, mamba_head_dim: 2, mamba_num_groups: 2, mamba_state_dim: 3 }

const parametersOf = (describeModel: (root: Scope) => void): ReadonlyArray<Parameter> => Scope.collect(describeModel).filter((entry) => entry.kind === "parameter")

const model = (c: TransformerConfig, more: Partial<ModelToWrite> = {}): ModelToWrite => ({
  parameters: parametersOf((root) => gpt(root, c)),
  layers: c.num_layers,
  gated: c.gated_linear_unit,
  experts: c.num_moe_experts ?? 1,
  local: false,
  partSizes: {},
  args: c.linear_attention_freq ? { linear_attention_freq: "([1]*3+[0]*1)*1" } : {},
  ...more
})

const flat: Layout = { tp: 1, pp: 1, ep: 1, etp: 1, vpp: 1 }

/** The stored tensors of a whole model, by the places that the model's own description gives its parts. */
const expected = (parameters: ReadonlyArray<Parameter>): ReadonlyMap<string, string> => {
  const stored = new Map<string, Values>()
  for (const parameter of parameters) {
    const { data } = valuesOf(parameter)
    const width = data.length / parameter.shape[0]!
    for (const { at, key, rows = [0, parameter.shape[0]!], shape } of parameter.parts) {
      const whole = stored.get(key) ?? { shape, data: new Uint16Array(shape.reduce((a, b) => a * b, 1)) }
      stored.set(key, whole)
      const start = at.reduce((sum, index, k) => sum + index * shape.slice(k + 1).reduce((a, b) => a * b, 1), 0)
      whole.data.set(data.subarray(rows[0] * width, rows[1] * width), start)
    }
  }
  return new Map(Array.from(stored, ([key, { data, shape }]) => [key, `[${shape}] ${createHash("sha256").update(new Uint8Array(data.buffer)).digest("hex")}`]))
}

const assembled = (path: string): Promise<ReadonlyMap<string, string>> =>
  run(Effect.gen(function*() {
    const { tensors } = yield* openSpace(path)
    const all = [...tensors.values()]
    const { whole } = yield* openTensors(all)
    const found = yield* Stream.runCollect(digest(all.map(whole)))
    return new Map(Array.from(found, ({ id, sha256 }) => [id, `[${tensors.get(id)!.shape}] ${sha256}`]))
  }))

const written = (m: ModelToWrite, layout: Partial<Layout> = {}, options: WriteOptions = {}): string => {
  const target = folder()
  const tp = layout.tp ?? 1
  writeRanks(target, m, { ...flat, etp: tp, ...layout }, options)
  return target
}

const isWhole = async (m: ModelToWrite, layout: Partial<Layout>, options: WriteOptions = {}): Promise<void> => {
  const path = written(m, layout, options)
  await run(Effect.flatMap(openCheckpoint(path), requireEqualReplicas))
  const [found, wanted] = [await assembled(path), expected(m.parameters)]
  expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort())
  for (const [key, value] of wanted) expect([key, found.get(key)]).toEqual([key, value])
}

describe("folders of ranks are one model", () => {
  const gdn = { "in_proj.weight": [4, 4, 12, 12, 4, 4], "conv1d.weight": [4, 4, 12] }
  const hybridParts = { "in_proj.weight": [8, 8, 6, 6, 4], "conv1d.weight": [8, 6, 6], "conv1d.bias": [8, 6, 6] }
  const mambaModel = model(mamba, {
    parameters: parametersOf((root) => hybrid(root, mamba, { layer: (s, i) => hybridLayer(s, mamba, (["mamba", "attention", "mamba", "mlp"] as const)[i]!) })),
    partSizes: hybridParts,
    args: { hybrid_layer_pattern: "M*M-" }
  })
  const cases: ReadonlyArray<readonly [string, ModelToWrite, Partial<Layout>]> = [
    ["one rank", model(dense), {}],
    ["tp=2", model(dense), { tp: 2 }],
    ["tp=2 of a model with biases", model(biased), { tp: 2 }],
    ["tp=4 pp=2", model({ ...dense, num_query_groups: 4 }), { tp: 4, pp: 2 }],
    ["pp=2 with virtual stages", model(dense), { pp: 2, vpp: 2 }],
    ["tp=2 pp=2 of the local spec", model(dense, { local: true }), { tp: 2, pp: 2 }],
    ["a tied head on the last stage", model({ ...dense, share_embeddings_and_output_weights: true }, { tied: true }), { tp: 2, pp: 2 }],
    ["ep=2", model(moe), { ep: 2 }],
    ["tp=2 ep=2 pp=2", model(moe), { tp: 2, ep: 2, pp: 2 }],
    ["experts that are not cut although dense weights are", model(moe), { tp: 2, ep: 2, etp: 1 }],
    ["linear attention, tp=2", model(linear, { partSizes: gdn }), { tp: 2 }],
    ["linear attention on one rank", model(linear, { partSizes: gdn }), {}],
    ["latent attention, tp=2 pp=2", model(latent), { tp: 2, pp: 2 }],
    ["multi-token prediction behind the last stage, tp=2 pp=2", model({ ...dense, mtp_num_layers: 1 }), { tp: 2, pp: 2 }],
    ["Mamba layers, tp=2 pp=2", mambaModel, { tp: 2, pp: 2 }]
  ]
  it.each(cases)("%s", (_, m, layout) => isWhole(m, layout))

  it("in files from before torch 1.6", () => isWhole(model(dense), { tp: 2 }, { beforeZip: true }))

  it("experts one by one, as the local spec has them", async () => {
    const m = model({ ...moe, moe_shared_expert_intermediate_size: null }, { local: true })
    const path = written(m, { ep: 2 })
    const found = await assembled(path)
    const wanted = expected(m.parameters)
    expect(found).toEqual(wanted)
    // That spec saves the norm before the experts under the name of a module that such a layer does not have.
    const { metadata } = await run(openCheckpoint(path))
    expect([...metadata.tensors.keys()]).toContain("decoder.layers.mlp.linear_fc1.layer_norm_weight")
  })
})

describe("ranks that are not of one save are refused, by rank and tensor", () => {
  const refusal = async (m: ModelToWrite, layout: Partial<Layout>, options: WriteOptions): Promise<string> => {
    const path = written(m, layout, options)
    const error = await run(Effect.flatMap(openCheckpoint(path), requireEqualReplicas).pipe(Effect.flip))
    return `${error.code}: ${error.message.replaceAll(path, "")}`
  }

  it("a rank is missing", async () => {
    expect(await refusal(model(dense), { tp: 2, pp: 2 }, { folders: (name) => name !== "mp_rank_01_001" })).toMatch(/^checkpoint\/rank-missing: .*mp_rank_01_001/)
  })

  it("a rank is of another iteration", async () => {
    const target = folder()
    const layout = { ...flat, tp: 2, etp: 2 }
    writeRanks(target, model(dense), layout)
    writeRanks(target, model(dense), layout, { iteration: 4, folders: (name) => name === "mp_rank_01" })
    const error = await run(Effect.flip(openCheckpoint(target)))
    expect(error.code).toBe("checkpoint/rank-iteration")
    expect(error.message).toMatch(/mp_rank_01.*is of iteration 4, iter_0000003 is of 3/)
  })

  it("two ranks disagree on a tensor that both have", async () => {
    const change = (name: string, state: Map<string, { values: Values }>) => {
      if (name === "mp_rank_01") state.get("decoder.final_layernorm.weight")!.values.data[3]! ^= 1
    }
    const text = await refusal(model(dense), { tp: 2 }, { change })
    expect(text).toMatch(/^checkpoint\/rank-disagrees: \/iter_0000003\/mp_rank_01\/model_optim_rng\.pt \(tensor decoder\.final_layernorm\.weight\): differs from the one of mp_rank_00.*element 3/)
  })

  it("slices do not add up", async () => {
    const change = (name: string, state: Map<string, { values: Values }>) => {
      const entry = state.get("decoder.layers.0.mlp.linear_fc2.weight")!
      if (name === "mp_rank_01") entry.values = { shape: [8, 5], data: new Uint16Array(40) }
    }
    expect(await refusal(model(dense), { tp: 2 }, { change })).toMatch(/^checkpoint\/rank-shapes: .*mp_rank_01.*layers\.0\.mlp\.linear_fc2\.weight.*\[8,5\].*\[8,6\] on mp_rank_00/)
  })

  it("the slices of the vocabulary do not add up to what the arguments say", async () => {
    expect(await refusal(model(dense, { args: { padded_vocab_size: 32 } }), { tp: 2 }, {})).toMatch(/^checkpoint\/rank-shapes: .*padded vocabulary has 32 rows.*16/)
  })

  it("a rank lacks a tensor", async () => {
    const change = (name: string, state: Map<string, { values: Values }>) => {
      if (name === "mp_rank_01") state.delete("decoder.layers.2.self_attention.linear_proj.weight")
    }
    expect(await refusal(model(dense), { tp: 2 }, { change })).toMatch(/^checkpoint\/rank-tensor: .*layers\.2\.self_attention\.linear_proj\.weight.*number 1 of 2/)
  })

  it("a stage has another number of layers than the arguments say", async () => {
    expect(await refusal(model(dense, { args: { num_layers: 6 } }), { pp: 2 }, {})).toMatch(/^checkpoint\/rank-layers: .*6 layers.*hold 4/)
  })

  it("a rank of another layout lies among them", async () => {
    const target = written(model(dense), { tp: 2 })
    writeRanks(target, model(dense), { ...flat, tp: 4, etp: 4 }, { folders: (name) => name === "mp_rank_03" })
    expect((await run(Effect.flip(openCheckpoint(target)))).code).toBe("checkpoint/rank-unexpected")
  })

  it("nothing says how a tensor is divided", async () => {
    const change = (_: string, state: Map<string, { values: Values }>) => void state.set("decoder.layers.0.novelty.weight", { values: { shape: [2], data: new Uint16Array(2) } })
    expect(await refusal(model(dense), { tp: 2 }, { change })).toMatch(/^checkpoint\/rank-split: .*novelty/)
  })
})
