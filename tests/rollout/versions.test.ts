/** Versions are published whole and as deltas, pulled byte for byte, and anything wrong is found before it does harm. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { Effect } from "effect"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { publishVersion, type PublishRequest, pullVersion, type PullRequest, watchVersions } from "../../src/api/rollout.ts"
import { importCheckpoint } from "../../src/api/promises.ts"
import type { BridgeError } from "../../src/errors.ts"
import { toPromise } from "../../src/io/attempt.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { Disk } from "../../src/io/Disk.ts"
import { sampleModel } from "../relabel/checkpoints.ts"
import { digests, inode, writeModel, writeNext } from "./models.ts"
import { workFolder } from "./workFolder.ts"

const work = workFolder("versions")
const at = (...names: ReadonlyArray<string>): string => join(work, ...names)
const run = <A>(effect: Effect.Effect<A, BridgeError, Disk>): Promise<A> => toPromise(Effect.provide(effect, Disk.layer))
const publish = (source: string, root: string, request: PublishRequest = {}) => run(publishVersion(source, root, request))
const pull = (root: string, local: string, request: PullRequest = {}) => run(pullVersion(root, local, request))
const version = (root: string, n: number): string => join(root, `weight_v${String(n).padStart(6, "0")}`)
const failure = (failing: Promise<unknown>): Promise<{ code: string; message: string }> =>
  failing.then(() => { throw new Error("it went well") }, ({ code, message }: { code: string; message: string }) => ({ code, message }))

const STATES = 9
const state = (n: number): string => at(`state${n}`)
/** Whole, five deltas (0, 0.1, 1, 3 % of the bytes, and one as overwrite), whole, a delta, whole. */
const root = at("versions")

beforeAll(async () => {
  writeModel(state(1), 1)
  for (const [i, share] of [0, 0.001, 0.01, 0.03, 0.01, 0.02, 0.01, 0.01].entries()) writeNext(state(i + 1), state(i + 2), share, i + 2)
  for (let n = 1; n <= STATES; n++) await publish(state(n), root, { ...(n === 6 ? { encoding: "overwrite" as const } : {}), full: n === 7 || n === 9 })
})

describe("publishing", () => {
  it("a version without changes is an index and no shard", () => {
    expect(readdirSync(version(root, 2))).toEqual(["model.safetensors.index.json"])
  })

  it("the index of a delta is what receivers read, and says the sums before and after", () => {
    const { metadata, weight_map } = JSON.parse(readFileSync(join(version(root, 4), "model.safetensors.index.json"), "utf8")) as { metadata: Record<string, unknown>; weight_map: Record<string, string> }
    expect(metadata).toMatchObject({ version: "000004", base_version: "000003", delta_encoding: "xor", compression_format: "zstd", checksum_format: "xxh3-128" })
    expect(Object.keys(metadata["base_checksums"] as object)).toEqual(Object.keys(weight_map))
    const before = JSON.parse(readFileSync(join(version(root, 3), "model.safetensors.index.json"), "utf8")) as { metadata: { state: string } }
    expect(metadata["base_state"]).toBe(before.metadata.state)
  })

  it("whole files that are as they were are links", () => {
    const file = "model-00001-of-00002.safetensors"
    expect(inode(join(version(root, 7), file))).toBe(inode(join(state(7), file)))
  })

  it("a copy that is changed in place is never linked", async () => {
    const [own, local] = [at("own"), at("own-local")]
    await pull(root, local, { version: 1 })
    await publish(local, own)
    expect(inode(join(version(own, 1), "model-00001-of-00002.safetensors"))).not.toBe(inode(join(local, "model-00001-of-00002.safetensors")))
  })

  it("a tensor of another shape is refused, and nothing is there afterwards", async () => {
    const [own, first, other] = [at("shapes"), at("shape1"), at("shape2")]
    writeModel(first, 1)
    writeModel(other, 1, { bias: [4] })
    await publish(first, own)
    expect(await failure(publish(other, own))).toMatchObject({ code: "rollout/other-layout", message: expect.stringContaining("F32 [3]") as string })
    expect(readdirSync(own)).toEqual(["weight_v000001"])
    expect(await publish(other, own, { full: true })).toMatchObject({ version: 2, kind: "full" })
  })

  it("what a delta is made against must be what was published", async () => {
    const own = at("rewritten")
    cpSync(state(3), at("moving"), { recursive: true })
    await publish(at("moving"), own)
    writeNext(state(3), at("moving"), 0.01, 77)
    expect(await failure(publish(state(4), own))).toMatchObject({ code: "rollout/wrong-base" })
    expect(await publish(state(4), own, { base: state(3) })).toMatchObject({ kind: "delta", base: 1 })
  })

  it.each([["its files are as they were", false], ["its files are copies", true]] as const)("a tensor that changes at its end only has the right sums, where %s", async (what, copied) => {
    const [own, full, first, second] = ["delta", "full", "first", "second"].map((name) => at(`end-${copied}-${name}`)) as [string, string, string, string]
    const { fileSize, headerBytes } = encodeHeader([{ name: "large", dtype: "U8", shape: [3_000_001] }, { name: "same", dtype: "U8", shape: [70_000] }], new Map())
    const bytes = Buffer.alloc(fileSize, 7)
    bytes.set(headerBytes)
    for (const directory of [first, second]) {
      mkdirSync(directory)
      writeFileSync(join(directory, "model.safetensors"), bytes)
      bytes[headerBytes.byteLength + 3_000_000]! ^= 1
    }
    await publish(first, own)
    if (copied) cpSync(join(first, "model.safetensors"), join(first, "copy"))
    if (copied) renameSync(join(first, "copy"), join(first, "model.safetensors"))
    const { changedTensors, state: sum } = await publish(second, own, { maxMemory: 8e6 })
    expect(changedTensors).toBe(1)
    expect(sum).toBe((await publish(second, full)).state)
    await pull(own, at(`end-${copied}-local`))
    expect(digests(at(`end-${copied}-local`)), what).toEqual(digests(second))
  })

  it("where the version before can be read nowhere, the whole model is published, and why", async () => {
    const own = at("gone")
    cpSync(state(3), at("passing"), { recursive: true })
    await publish(state(2), own)
    await publish(at("passing"), own)
    rmSync(at("passing"), { recursive: true })
    const { kind, notes } = await publish(state(4), own)
    expect(kind).toBe("full")
    expect(notes.join()).toContain("is gone")
  })

  it("every so many versions a full one; old ones go, but for what others are built on", async () => {
    const own = at("kept")
    const kinds: Array<string> = []
    for (let n = 1; n <= 7; n++) kinds.push((await publish(state(n), own, { fullEvery: 3, keep: 2 })).kind)
    expect(kinds).toEqual(["full", "delta", "delta", "full", "delta", "delta", "full"])
    expect(readdirSync(own).sort()).toEqual([4, 5, 6, 7].map((n) => `weight_v00000${n}`))
  })

  it("the first version may be a delta against what engines were started with", async () => {
    const [own, local] = [at("from0"), at("from0-local")]
    expect(await publish(state(4), own, { base: state(3) })).toMatchObject({ kind: "delta", version: 1, base: 0 })
    expect(await failure(pull(own, local))).toMatchObject({ code: "rollout/no-full-version" })
    expect(await pull(own, local, { model: state(3) })).toMatchObject({ seeded: 0, applied: [1] })
    expect(digests(local)).toEqual(digests(state(4)))
  })
})

describe("pulling", () => {
  it("every version is what was published, byte for byte, one after the other and from scratch", async () => {
    const local = at("local")
    for (let n = 1; n <= STATES; n++) {
      await pull(root, local, { version: n })
      expect(digests(local)).toEqual(digests(state(n)))
      const fresh = at(`fresh${n}`)
      await pull(root, fresh, { version: n })
      expect(digests(fresh)).toEqual(digests(state(n)))
    }
    expect(await pull(root, local)).toMatchObject({ applied: [], tensors: 0 })
    expect(await pull(root, local, { version: 5 })).toMatchObject({ seeded: 1, applied: [2, 3, 4, 5] })
    expect(digests(local)).toEqual(digests(state(5)))
  })

  it("a directory with files of somebody else is left alone", async () => {
    mkdirSync(at("foreign"))
    writeFileSync(at("foreign", "notes.txt"), "mine")
    expect(await failure(pull(root, at("foreign")))).toMatchObject({ code: "output/not-a-copy" })
  })

  const spoiled: ReadonlyArray<readonly [what: string, code: string, spoil: (root: string, local: string) => void]> = [
    ["a missing version", "rollout/missing-version", (own) => { rmSync(version(own, 3), { recursive: true }) }],
    ["a shard that is cut short", "safetensors/data-truncated", (own) => { const path = join(version(own, 4), "model-00000-of-00001.safetensors"); truncateSync(path, statSync(path).size - 10) }],
    ["a shard with one bit changed", "rollout/damaged", (own) => {
      const path = join(version(own, 4), "model-00000-of-00001.safetensors")
      const bytes = readFileSync(path)
      bytes[bytes.length - 20]! ^= 4
      writeFileSync(path, bytes)
    }],
    ["two versions that were swapped", "rollout/swapped", (own) => {
      renameSync(version(own, 3), at("aside"))
      renameSync(version(own, 4), version(own, 3))
      renameSync(at("aside"), version(own, 4))
    }],
    ["a copy that somebody has changed", "rollout/wrong-base", (_, local) => {
      for (const name of Object.keys(digests(local))) {
        const bytes = readFileSync(join(local, name))
        for (let i = 8 + Number(bytes.readBigUInt64LE(0)); i < bytes.length; i++) bytes[i]! ^= 1
        writeFileSync(join(local, name), bytes)
      }
    }]
  ]

  it.each(spoiled)("%s is found before anything is touched", async (what, code, spoil) => {
    const [own, local] = [at(`spoiled-${what}`), at(`spoiled-local-${what}`)]
    cpSync(root, own, { recursive: true })
    await pull(own, local, { version: 2 })
    spoil(own, local)
    const before = digests(local)
    expect(await failure(pull(own, local, { version: 4 }))).toMatchObject({ code })
    if (code !== "safetensors/data-truncated" && code !== "rollout/damaged") expect(digests(local)).toEqual(before)
    else expect(digests(local)).toEqual(digests(state(3)))
  })

  it("deltas of another run, begun anew in the same folder, are refused", async () => {
    const [own, local] = [at("again"), at("again-local")]
    await publish(state(3), own)
    await pull(own, local)
    rmSync(own, { recursive: true })
    writeModel(at("other1"), 500)
    writeNext(at("other1"), at("other2"), 0.01, 501)
    await publish(at("other1"), own)
    await publish(at("other2"), own)
    expect(await failure(pull(own, local))).toMatchObject({ code: "rollout/wrong-base" })
    expect(digests(local)).toEqual(digests(state(3)))
    expect(await pull(own, local, { fresh: true })).toMatchObject({ seeded: 1, applied: [2] })
    expect(digests(local)).toEqual(digests(at("other2")))
  })
})

describe("a Megatron checkpoint", () => {
  it("becomes versions without a Hugging Face copy in between, and each iteration of a watched folder one", async () => {
    const folder = at("megatron")
    mkdirSync(folder)
    await sampleModel(folder)
    const hf = join(folder, "hf-qwen3.5-vl")
    const next = join(folder, "next")
    writeNext(hf, next, 0.002, 9)
    const model = (path: string) => ({ hfModel: path, components: ["language=tp=2", "images=tp=1"] })
    await importCheckpoint(model(hf), join(folder, "run"))
    await importCheckpoint(model(next), join(folder, "later"))
    const own = join(folder, "versions")
    const done = await run(watchVersions(join(folder, "run"), own, {
      model: hf,
      interval: 5,
      versions: 2,
      onVersion: ({ version: number }) => Effect.sync(() => {
        if (number > 1) return
        renameSync(join(folder, "later", "iter_0000000"), join(folder, "run", "iter_0000001"))
        writeFileSync(join(folder, "run", "latest_checkpointed_iteration.txt"), "1")
        rmSync(join(folder, "run", "latest_train_state.pt"))
      })
    }))
    expect(done.map(({ kind }) => kind)).toEqual(["full", "delta"])
    expect(digests(version(own, 1))).toEqual(digests(hf))
    await pull(own, join(folder, "local"))
    expect(digests(join(folder, "local"))).toEqual(digests(next))
    // The third holds what the first held in one of its files, and has that as a link.
    await publish(join(folder, "run", "iter_0000001"), own, { model: hf, full: true })
    await publish(join(folder, "run", "iter_0000001"), own, { model: hf, full: true })
    const [file] = Object.keys(digests(hf))
    expect(inode(join(version(own, 4), file!))).toBe(inode(join(version(own, 3), file!)))
    expect(existsSync(join(version(own, 4), "config.json"))).toBe(true)
  })
})
