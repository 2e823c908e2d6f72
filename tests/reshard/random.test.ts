/** Random states that are made anew: bit for bit what Python, NumPy, torch and the GPU have after seeding. */
import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { argumentsOf } from "../../src/arguments/TrainingArguments.ts"
import { reshardPlan } from "../../src/api/reshard.ts"
import { seededByNumber } from "../../src/reshard/random/mersenneTwister.ts"
import { rngItem } from "../../src/reshard/random/rankStates.ts"
import { parseArchive } from "../../src/torch/ObjectItem.ts"
import type { PickleDict, PickleList, PickleObject } from "../../src/torch/PickleValue.ts"
import type { PyRead } from "../../src/torch/PyValue.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { readRecord } from "../../src/torch/Zip.ts"
import { trainedCheckpoints, trainingCheckpoint } from "../conformance/training.ts"
import { resharding, run } from "./resharding.ts"
import { iterationIn, itemIn, metadataOf, objectIn } from "./stored.ts"

const { to } = resharding()
const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex")

interface StoredStates {
  readonly states: ReadonlyArray<PickleDict>
  readonly bytesOf: (tensor: unknown) => Buffer
}

/** The states of an item, with their tensors as bytes. */
const statesIn = (item: Uint8Array): StoredStates => {
  const { archive, value } = parseBytes(item, parseArchive(item.length))
  const [list] = (value as PickleList).items as [PickleList]
  const bytesOf = (tensor: unknown): Buffer => {
    const [, , key] = ((tensor as PickleObject).args[0] as unknown as { id: [string, unknown, string] }).id
    return Buffer.from(parseBytes(item, readRecord(archive.records.get(`${archive.root}/data/${key}`)!, item.length)))
  }
  return { states: list.items as ReadonlyArray<PickleDict>, bytesOf }
}

const seedOf = (bytes: Buffer): number => Number(bytes.readBigUInt64LE(0))

/** Seeds of the tracker's states, by name, and of the GPU's own generator. */
const seedsIn = (item: Uint8Array): ReadonlyArray<Record<string, number>> => {
  const { bytesOf, states } = statesIn(item)
  return states.map((state) => {
    const { entries } = state.get("rng_tracker_states") as PickleDict
    const tracked = Object.fromEntries(Array.from({ length: entries.length / 2 }, (_, i) => [String(entries[2 * i]), seedOf(bytesOf(entries[2 * i + 1]))]))
    return { cuda: seedOf(bytesOf(state.get("cuda_rng_state"))), ...tracked }
  })
}

describe("a seed gives the states that the generators have after it", () => {
  // torch 2.11 and an H200: sha256 of torch.get_rng_state(), and the bytes of torch.cuda.get_rng_state().
  it.each([
    [1, "f5defda135ec2e0d1513e6979390f58397d31a904d5f6540f8b88ae64d1decc1", "01000000000000000000000000000000"],
    [1234, "de89fdb4ebc4cb9ba868b924a5bdd7042b3741bf9939013d2c1f38675274a084", "d2040000000000000000000000000000"],
    [2 ** 33 + 5, "6e0b0d7d5171af67dcd775ca095ef096e025dd81ce61e1a0203d62a7e62fb284", "05000000020000000000000000000000"]
  ])("%i", (base, torch, cuda) => {
    const { bytesOf, states: [state] } = statesIn(rngItem([{ base, tracked: new Map() }]))
    expect(sha256(bytesOf(state!.get("torch_rng_state")))).toBe(torch)
    expect(bytesOf(state!.get("cuda_rng_state")).toString("hex")).toBe(cuda)
  })

  it("Python's and NumPy's are those that a trainer stored, which seeded with 1234", async () => {
    const [stored] = await objectIn(iterationIn(trainingCheckpoint("lm-fully-reshardable-tp2pp2")), "rng_state/shard_0.0_2.2") as [ReadonlyMap<string, unknown>]
    const cut = await to(trainingCheckpoint("lm-fully-reshardable-tp2pp2"), { tp: 2, rng: "reseed", seed: 1234 })
    const [made] = await objectIn(iterationIn(cut), "rng_state/shard_0.0_1.2") as [ReadonlyMap<string, unknown>]
    for (const name of ["random_rng_state", "np_rng_state"]) expect(made.get(name), name).toEqual(stored.get(name))
    expect([...made.keys()]).toEqual([...stored.keys()])
    expect(seededByNumber(1234)[0]).toBe(1234)
  })
})

describe("every rank of the new layout has its own", () => {
  it("pipeline stages, tensor-parallel ranks and experts", async () => {
    const cut = iterationIn(await to(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), { tp: 2, pp: 2, ep: 2, etp: 1, rng: "reseed", seed: 42 }))
    const made = [...metadataOf(cut).objects].filter(([key]) => key.startsWith("rng_state")).sort(([a], [b]) => (a < b ? -1 : 1))
    expect(Object.fromEntries(made.map(([key, { file }]) => [key, file]))).toEqual({
      "rng_state/shard_0.0_2.2": "__0_0.distcp", "rng_state/shard_0.1_2.2": "__1_0.distcp", "rng_state/shard_1.0_2.2": "__2_0.distcp", "rng_state/shard_1.1_2.2": "__3_0.distcp"
    })
    expect(made.map(([key]) => seedsIn(itemIn(cut, key)))).toEqual([
      [{ cuda: 42, "data-parallel-rng": 42, "model-parallel-rng": 2760, "expert-parallel-rng": 1066 }],
      [{ cuda: 42, "data-parallel-rng": 42, "model-parallel-rng": 2761, "expert-parallel-rng": 1166 }],
      [{ cuda: 142, "data-parallel-rng": 142, "model-parallel-rng": 2860, "expert-parallel-rng": 1166 }],
      [{ cuda: 142, "data-parallel-rng": 142, "model-parallel-rng": 2861, "expert-parallel-rng": 1266 }]
    ])
  })

  it("components have their own keys", async () => {
    const cut = iterationIn(await to(trainingCheckpoint("mimo-fully-reshardable"), { components: ["language=tp=2", "images=tp=1"], rng: "reseed", seed: 7 }))
    const keys = [...metadataOf(cut).objects.keys()].filter((key) => key.startsWith("rng_state"))
    expect(keys.sort()).toEqual(["rng_state.images/shard_0.0_1.1", "rng_state.language/shard_0.0_1.2", "rng_state.language/shard_0.1_1.2"])
  })

  it.runIf(trainedCheckpoints.length > 0).each(trainedCheckpoints)("%s: the seeds of a trainer's own states on GPUs, the run's seed unsaid", async (_, source) => {
    const before = iterationIn(source)
    const after = iterationIn(await to(source, { rng: "reseed" }))
    const keys = [...metadataOf(before).objects.keys()].filter((key) => key.startsWith("rng_state"))
    expect([...metadataOf(after).objects.keys()].filter((key) => key.startsWith("rng_state")).sort()).toEqual(keys.sort())
    for (const key of keys) {
      expect(seedsIn(itemIn(after, key))).toEqual(seedsIn(itemIn(before, key)))
      const [[made], [stored]] = [await objectIn(after, key), await objectIn(before, key)] as [[ReadonlyMap<string, unknown>], [ReadonlyMap<string, unknown>]]
      for (const name of ["random_rng_state", "np_rng_state"]) expect(made.get(name), name).toEqual(stored.get(name))
    }
  })
})

it("the arguments ask for them again; without a seed it is asked for", async () => {
  const dropped = await to(trainingCheckpoint("lm-fp32"), { tp: 2, rng: "drop" })
  const unsaved = async (parent: string) => argumentsOf(await objectIn(iterationIn(parent), "common_state/shard_0_1") as PyRead)!.flag("no_save_rng")
  expect(await unsaved(dropped)).toBe(true)
  expect(await unsaved(await to(dropped, { tp: 1, rng: "reseed", seed: 5 }))).toBe(false)
  await expect(run(reshardPlan(trainingCheckpoint("mimo-fully-reshardable"), { rng: "reseed" }))).rejects.toThrow(/does not say with which seed.*\n.*--seed N/s)
  await expect(run(reshardPlan(trainingCheckpoint("lm-fp32"), { rng: "reseed", seed: 0 }))).rejects.toThrow(/the seed 0 is none that a trainer takes/)
  await expect(run(reshardPlan(trainingCheckpoint("lm-fp32"), { seed: 3 }))).rejects.toThrow(/made anew.*\n.*--rng reseed/s)
})
