/** Folders of ranks written as `torch_dist`: what comes out is what the trainer would have saved in that format. */
import { Effect, Stream } from "effect"
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { argumentsOf } from "../../src/arguments/TrainingArguments.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { readCommonState } from "../../src/checkpoint/CommonState.ts"
import { readChunks } from "../../src/checkpoint/StoredArrays.ts"
import { ChunkSelection } from "../../src/checkpoint/ChunkSelection.ts"
import { digest } from "../../src/engine/index.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { prepareRelabel } from "../../src/relabel/relabel.ts"
import type { RelabelTo } from "../../src/relabel/rules/index.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"
import { workDirectory } from "./checkpoints.ts"

const work = workDirectory("from-ranks")
const run = <A, E>(program: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))

const relabelling = (name: string, to: ReadonlyArray<RelabelTo>) => prepareRelabel(families, trainingCheckpoint(name), { to, layout: (names) => resolveLayout([], names) })

const written = async (name: string, ...to: ReadonlyArray<RelabelTo>) => {
  const target = join(work, `${name}-${to.join("-")}`)
  const report = await run(Effect.flatMap(relabelling(name, to), (prepared) => prepared.run(target, { link: false, overwrite: false })))
  return { target, report }
}

/** Stored keys, shapes and digests, as the index has them. */
const storedIn = (path: string) =>
  run(Effect.gen(function*() {
    const { directory, metadata: { tensors } } = yield* openCheckpoint(path)
    const chunks = new ChunkSelection(directory)
    for (const [key, tensor] of tensors) chunks.add(key, tensor)
    const stored = yield* Effect.promise(() => readChunks(nodeCalls, chunks))
    const found = yield* Stream.runCollect(digest(Iterator.from(tensors).map(([key, tensor]) => ({ id: key, dtype: tensor.dtype, shape: tensor.shape, copies: () => stored.whole(tensor, key) }))))
    return Object.fromEntries(Array.from(found, ({ id, sha256 }) => [id, { shape: tensors.get(id)!.shape, sha256 }]))
  }))

const facts = (name: string) => Object.fromEntries(Object.entries(trainingFacts(name).expectedGlobal!).map(([key, { sha256, shape }]) => [key, { shape, sha256 }]))

describe("folders of ranks, relabelled to torch_dist", () => {
  // For optimizers that are not distributed there are facts of the weights alone.
  it.each([["legacy-tp2pp2", /^(?!optimizer\.)/], ["legacy-ep2", /^(?!optimizer\.)/], ["legacy-distributed-optimizer-dp2", /^/]] as const)("%s has the tensors that its trainer would have saved", async (name, known) => {
    const { target } = await written(name, "torch-dist")
    expect(Object.fromEntries(Object.entries(await storedIn(target)).filter(([key]) => known.test(key)))).toEqual(facts(name))
  })

  it("has the optimizer's state in model space, its groups without numbers of tensors, and says which form it is", async () => {
    const flat = await run(openCheckpoint((await written("legacy-distributed-optimizer-dp2", "torch-dist", "te-spec")).target))
    const plain = await run(openCheckpoint((await written("legacy-tp2pp2", "torch-dist", "te-spec")).target))
    const statesOf = ({ metadata }: typeof flat) => [...new Set(Iterator.from(metadata.tensors.keys()).filter((key) => key.startsWith("optimizer.state.")).map((key) => key.split(".")[2]))].sort()
    expect([statesOf(flat), statesOf(plain)]).toEqual([["exp_avg", "exp_avg_sq", "param"], ["exp_avg", "exp_avg_sq", "fp32_param"]])
    // Each is cut as the model's tensor is: two layers, two ranks of each, gate and up apart.
    expect(plain.metadata.tensors.get("optimizer.state.exp_avg.decoder.layers.mlp.linear_fc1.weight")!.chunks.length).toBe(8)
    const common = (await readCommonState(nodeCalls, flat.directory, flat.metadata))!.value as ReadonlyMap<string, ReadonlyMap<string, unknown>>
    expect(common.get("content_metadata")!.get("distrib_optim_sharding_type")).toBe("fully_reshardable")
    expect(common.get("optimizer")!.get("param_state_sharding_type")).toBe("fully_reshardable")
    const { param_groups: groups } = Object.fromEntries(common.get("optimizer")!.get("optimizer") as ReadonlyMap<string, unknown>) as { param_groups: ReadonlyArray<ReadonlyMap<string, unknown>> }
    expect(groups.map((group) => [group.get("step"), group.has("params")])).toEqual([[3, false], [3, false]])
  })

  it("has no optimizer where the masters are not those of the weights", async () => {
    const source = join(work, "other-masters")
    cpSync(trainingCheckpoint("legacy-distributed-optimizer-dp2"), source, { recursive: true })
    const path = join(source, "iter_0000003", "mp_rank_00", "distrib_optim.pt")
    const bytes = readFileSync(path)
    // The data of the first storage begins behind the record's header, at a multiple of 64.
    const at = Math.ceil((bytes.indexOf("distrib_optim/data/0") + 30) / 64) * 64
    bytes.writeUInt8(bytes.readUInt8(at + 3) ^ 0x40, at + 3)
    writeFileSync(path, bytes)
    const { report } = await run(prepareRelabel(families, source, { to: ["torch-dist"], layout: (names) => resolveLayout([], names) }))
    expect(report.tensors).toBe(9)
    expect(report.notes.join("\n")).toMatch(/optimizer's state is left behind: its master of .* is not the weights'/)
  })

  it("has the run's arguments and schedule, and a state for every module that had one", async () => {
    const { target, report } = await written("legacy-ep2", "torch-dist", "te-spec")
    const { directory, metadata } = await run(openCheckpoint(target))
    const common = await readCommonState(nodeCalls, directory, metadata)
    expect(argumentsOf(common!.value)?.number("expert_model_parallel_size")).toBe(2)
    expect((common!.value as ReadonlyMap<string, unknown>).get("iteration")).toBe(3)
    expect(metadata.objects.has("common_state/shard_0_1")).toBe(true)
    expect(metadata.objects.has("decoder.layers.self_attention.linear_qkv._extra_state/shard_1_2")).toBe(true)
    expect(metadata.objects.has("decoder.layers.mlp.experts.experts.linear_fc1._extra_state/shard_1.3_2.4")).toBe(true)
    // GPT models have none for the output layer, although ranks do.
    expect([...metadata.objects.keys()].filter((key) => key.startsWith("output_layer"))).toEqual([])
    expect(metadata.tensors.has("decoder.layers.pre_mlp_layernorm.weight")).toBe(true)
    expect(report.notes.join("\n")).toMatch(/random number states/)
  })

  it.each<readonly [ReadonlyArray<RelabelTo>, RegExp]>([
    [["plain"], /--to torch-dist writes them/],
    [["torch-dist", "mimo"], /torch-dist first, then relabel that/]
  ])("--to %s is refused", async (to, says) => {
    expect((await run(Effect.flip(relabelling("legacy-ep2", to)))).message).toMatch(says)
  })
})
