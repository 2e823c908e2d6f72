/** Checkpoints that trainers wrote, cut for other layouts: the same global tensors, cut as the trainer of that layout cuts them. */
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { type ReshardRequest, reshardPlan } from "../../src/api/reshard.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"
import { random } from "../torch/tools.ts"
import { type RandomSizes, STATES, writeRandomModel } from "./randomModel.ts"
import { plain, resharding, run } from "./resharding.ts"
import { files, grids, iterationIn, metadataOf, objectIn, placement, summaries } from "./stored.ts"

const { fresh, to, work } = resharding()
const tensorsOf = (name: string) => plain(trainingFacts(name).tensors)

/** Data files of a folder but for random states, which belong to one layout. */
const dataOf = (parent: string) =>
  Object.fromEntries(Object.entries(placement(iterationIn(parent))).map(([file, items]) => [file, items.filter((item) => !item.startsWith("rng_state"))]))

describe("model-space optimizer state", () => {
  it.each<[string, ReshardRequest, ReshardRequest]>([
    ["lm-moe-fully-reshardable-ep2", { tp: 2, pp: 2 }, { ep: 2 }],
    ["lm-weights-only-tp2", { pp: 2, tp: 1 }, { tp: 2 }],
    ["mimo-fully-reshardable", { components: ["language=tp=2", "images=tp=2"] }, { components: ["language=tp=1", "images=tp=1"] }]
  ])("%s there and back", async (name, there, back) => {
    const source = trainingCheckpoint(name)
    const cut = await to(source, there)
    expect(await summaries(iterationIn(cut))).toEqual(tensorsOf(name))
    const again = await to(cut, back)
    expect(await summaries(iterationIn(again))).toEqual(tensorsOf(name))
    expect(grids(iterationIn(again))).toEqual(grids(iterationIn(source)))
    expect(dataOf(again)).toEqual(dataOf(source))
    // From what is written here, there and back is the same byte for byte.
    const third = await to(await to(again, there), back)
    expect(files(iterationIn(third))).toEqual(files(iterationIn(again)))
  })

  it("the layout that it has changes no tensor and keeps the random states", async () => {
    const source = trainingCheckpoint("lm-moe-fully-reshardable-ep2")
    const report = await run(reshardPlan(source, { ep: 2, dp: 2 }))
    expect(report).toMatchObject({ rng: "kept", recut: 0, kept: ["__0_0.distcp", "__1_0.distcp"] })
    const same = await to(source, { link: true })
    expect(await summaries(iterationIn(same))).toEqual(tensorsOf("lm-moe-fully-reshardable-ep2"))
    expect([...metadataOf(iterationIn(same)).objects.keys()].sort()).toEqual([...metadataOf(iterationIn(source)).objects.keys()].sort())
  })

  it("what is not wanted stays behind", async () => {
    const weights = await to(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), { onlyModel: true })
    const { objects, tensors } = metadataOf(iterationIn(weights))
    expect([...tensors.keys()].filter((key) => key.startsWith("optimizer"))).toEqual([])
    expect([...objects.keys()].filter((key) => !key.includes("_extra_state"))).toEqual(["common_state/shard_0_1"])
  })

  it.each<[string, ReshardRequest, boolean]>([
    ["the number of copies stays", { tp: 2, dp: 2 }, true],
    ["the layout stays", { dropOptimizer: true }, true],
    ["there are more copies", { tp: 2, dp: 4 }, false],
    ["only the model is wanted", { onlyModel: true }, false]
  ])("states of data loaders where %s; what lies beside the iterations is named", async (_, request, stay) => {
    const source = fresh()
    cpSync(trainingCheckpoint("lm-fully-reshardable-dp2"), source, { recursive: true })
    const loaders = ["train_dataloader_dprank000.pt", "mp_rank_00/train_dataloader_dprank001.pt"]
    mkdirSync(join(iterationIn(source), "mp_rank_00"))
    for (const name of [...loaders, "notes.txt"]) writeFileSync(join(iterationIn(source), name), "state")
    writeFileSync(join(source, "progress.txt"), "3")
    const { notes } = await run(reshardPlan(source, request))
    expect(notes.filter((note) => /states of data loaders are left out.*dprank001.*dprank000/.test(note)).length).toBe(stay ? 0 : 1)
    expect(notes).toContainEqual("beside the iterations, and not taken along: progress.txt")
    const made = readdirSync(iterationIn(await to(source, request)), { recursive: true, encoding: "utf8" })
    expect([...loaders, "mp_rank_00", "notes.txt"].map((name) => made.includes(name))).toEqual([stay, stay, stay, true])
  })

  it.each<[string, ReshardRequest, string]>([
    ["lm-moe-fully-reshardable-ep2", { tp: 3 }, "cannot be divided among tp=3"],
    ["lm-moe-fully-reshardable-ep2", { pp: 3 }, "2 layers cannot be split evenly into pp=3"],
    ["lm-moe-fully-reshardable-ep2", { ep: 3 }, "4 experts cannot be divided among ep=3"],
    ["lm-moe-fully-reshardable-ep2", { components: ["language=tp=2"] }, "without components"],
    ["mimo-fully-reshardable", { tp: 2 }, "each with a layout of its own"],
    ["lm-moe-fully-reshardable-ep2", { tp: 2, rng: "keep" }, "nobody could take it over"]
  ])("%s: %o is refused", async (name, request, problem) => {
    await expect(run(reshardPlan(trainingCheckpoint(name), request))).rejects.toThrow(problem)
  })
})

describe("a layout that the trainer saved too", () => {
  it.each<[string, ReshardRequest, string]>([
    ["lm-fully-reshardable-dp2", { tp: 2, pp: 2 }, "lm-fully-reshardable-tp2pp2"],
    ["lm-fully-reshardable-tp2pp2", { dp: 2 }, "lm-fully-reshardable-dp2"],
    ["lm-dp-reshardable-dp2", { tp: 2, pp: 2 }, "lm-fully-reshardable-tp2pp2"],
    ["lm-moe-dp-reshardable-ep2", { ep: 2, tp: 1 }, "lm-moe-fully-reshardable-ep2"]
  ])("%s to %o is what %s is: tensors, cuts, files, groups", async (name, request, direct) => {
    // Buckets of the same layout would stay.
    const through = name.startsWith("lm-moe-dp") ? await to(trainingCheckpoint(name), { tp: 2 }) : trainingCheckpoint(name)
    const made = await to(through, request)
    const saved = trainingCheckpoint(direct)
    expect(await summaries(iterationIn(made))).toEqual(tensorsOf(direct))
    expect(grids(iterationIn(made))).toEqual(grids(iterationIn(saved)))
    expect(dataOf(made)).toEqual(dataOf(saved))
    const [own, theirs] = [await objectIn(iterationIn(made), "common_state/shard_0_1"), await objectIn(iterationIn(saved), "common_state/shard_0_1")] as ReadonlyArray<ReadonlyMap<string, unknown>>
    for (const entry of ["optimizer", "opt_param_scheduler", "content_metadata", "iteration"]) expect(own!.get(entry), entry).toEqual(theirs!.get(entry))
  })
})

describe("optimizer state of other forms", () => {
  const forms: ReadonlyArray<[string, string]> = [
    ["lm-dp-reshardable-dp2", "dp_reshardable"],
    ["lm-moe-dp-reshardable-ep2", "dp_reshardable"],
    ["core014-model-space-dp2", "fully_sharded_model_space"]
  ]
  it.each(forms)("%s becomes one that any layout can load", async (name, from) => {
    const facts = trainingFacts(name)
    const weights = Object.fromEntries(Object.entries(tensorsOf(name)).filter(([key]) => !key.includes("optimizer")))
    const wanted = { ...weights, ...facts.expectedModelSpace }
    const cut = await to(trainingCheckpoint(name), { tp: 2 })
    expect(await summaries(iterationIn(cut))).toEqual(wanted)
    expect(await run(reshardPlan(trainingCheckpoint(name), { tp: 2 }))).toMatchObject({ optimizer: { from, to: "fully_reshardable" } })
    // Also under the layout that it has.
    expect(await summaries(iterationIn(await to(trainingCheckpoint(name), {})))).toEqual(wanted)
  })

  it("buckets stay where only the number of copies changes", async () => {
    const report = await run(reshardPlan(trainingCheckpoint("lm-dp-reshardable-dp2"), { dp: 4 }))
    expect(report).toMatchObject({ optimizer: { from: "dp_reshardable", to: "dp_reshardable" }, kept: ["__0_0.distcp", "__1_0.distcp"], rng: "kept" })
  })

  it("a master that is not that of the weights proves the order wrong, and is refused with the trainer's flag", async () => {
    const copy = join(work, "damaged")
    cpSync(trainingCheckpoint("lm-dp-reshardable-dp2"), copy, { recursive: true })
    const folder = iterationIn(copy)
    const weights = metadataOf(folder).tensors.get("decoder.final_layernorm.weight")!.chunks[0]!
    const path = join(folder, weights.file)
    const bytes = readFileSync(path)
    const item = tensorItem("BF16", [16])
    const data = Buffer.from(bytes.subarray(weights.offset + item.prefix.length, weights.offset + item.prefix.length + item.dataLength))
    data[7] = data[7]! ^ 0x01
    Buffer.concat([item.prefix, data, item.suffix(crc32(data))]).copy(bytes, weights.offset)
    chmodSync(path, 0o644)
    writeFileSync(path, bytes)
    await expect(run(reshardPlan(copy, { tp: 2 }))).rejects.toThrow(/final_layernorm.weight is not that of the stored weights.*\n.*--dist-ckpt-optim-fully-reshardable/s)
  })
})

describe("random models", () => {
  const picking = (seed: number) => {
    const r = random(seed)
    return <A>(...list: ReadonlyArray<A>): A => list[r.below(list.length)]!
  }
  const sizesOf = (seed: number): RandomSizes => {
    const pick = picking(seed)
    const experts = pick(undefined, undefined, 4, 8)
    return {
      layers: pick(2, 4, 8), hidden: pick(8, 12), heads: pick(4, 8), ffn: pick(8, 16), vocabulary: pick(17, 32, 50), experts, gated: pick(true, false), tied: pick(true, false), indexed: pick(true, false),
      mimo: pick(true, false), states: pick(...STATES), latent: pick(true, false), mtp: pick(true, false)
    }
  }
  const layoutFor = ({ experts, layers, mimo }: RandomSizes, seed: number): ReshardRequest => {
    const pick = picking(seed)
    const [tp, pp] = [pick(1, 2, 4), pick(1, 2)]
    const ofExperts = experts === undefined ? {} : { ep: pick(1, 2, 4), etp: pick(1, 2) }
    if (mimo) return { components: [`language=${Object.entries({ tp, pp, ...ofExperts, dp: 8 }).map(([name, size]) => `${name}=${size}`).join(",")}`, `images=tp=${pick(1, 2, 4)},dp=${pick(1, 2)}`] }
    return { tp, pp, ...ofExperts, ...(pp === 2 && layers % 4 === 0 && pick(true, false) ? { pipeline: { virtualStages: 2 } } : {}), dp: 8 }
  }

  it.each(Array.from({ length: 24 }, (_, seed) => [seed]))("%i: from one layout to another and back, and at once what it is by way of the other", async (seed) => {
    const sizes = sizesOf(seed + 1)
    const source = writeRandomModel(join(work, `random-${seed}`), sizes, seed)
    const whole = await summaries(iterationIn(source))
    const [one, other] = [layoutFor(sizes, 100 + seed), layoutFor(sizes, 200 + seed)]
    const first = await to(source, one)
    expect(await summaries(iterationIn(first))).toEqual(whole)
    const second = await to(first, other)
    expect(await summaries(iterationIn(second))).toEqual(whole)
    expect(files(iterationIn(await to(second, one)))).toEqual(files(iterationIn(first)))
    const direct = await to(source, other)
    expect(grids(iterationIn(direct))).toEqual(grids(iterationIn(second)))
    expect(placement(iterationIn(direct))).toEqual(placement(iterationIn(second)))
  })

  it("latent and multi-token prediction's parameters are cut as Megatron-Core's modules divide them, experts by a size of their own", async () => {
    const source = writeRandomModel(join(work, "latent"), { layers: 2, hidden: 8, heads: 4, ffn: 8, vocabulary: 32, experts: 4, gated: true, tied: false, indexed: true, mimo: false, states: STATES[0]!, latent: true, mtp: true }, 1)
    const cut = grids(iterationIn(await to(source, { tp: 4, pp: 2, ep: 2, etp: 2, dp: 1 })))
    for (const layer of ["decoder.layers.1", "mtp.layers.0.transformer_layer"]) {
      for (const space of ["", "optimizer.state.exp_avg."]) {
        const own = (key: string) => cut[`${space}${layer}.${key}`]
        expect(own("self_attention.linear_q_down_proj.weight")).toEqual(["0,0+6,8"])
        expect(own("self_attention.linear_kv_down_proj.weight")).toEqual(["0,0+6,8"])
        expect(own("self_attention.linear_q_up_proj.layer_norm_weight")).toEqual(["0+6"])
        expect(own("self_attention.linear_q_up_proj.weight")).toEqual(["0,0+6,6", "12,0+6,6", "18,0+6,6", "6,0+6,6"])
        expect(own("self_attention.linear_kv_up_proj.weight")).toEqual(["0,0+8,4", "16,0+8,4", "24,0+8,4", "8,0+8,4"])
        expect(own("self_attention.linear_proj.weight")).toEqual(["0,0+8,4", "0,12+8,4", "0,4+8,4", "0,8+8,4"])
        expect(own("mlp.experts.experts.linear_fc2.weight")!.length).toBe(4 * 2)
      }
    }
    expect(cut["mtp.layers.0.eh_proj.weight"]).toEqual(["0,0+2,16", "2,0+2,16", "4,0+2,16", "6,0+2,16"])
    expect(cut["mtp.layers.0.enorm.weight"]).toEqual(["0+8"])
  })
})
