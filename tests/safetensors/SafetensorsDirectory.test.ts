import { layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { execFileSync } from "node:child_process"
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, expect } from "vitest"
import { InvalidFile } from "../../src/errors.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { openSafetensors, openShard } from "../../src/safetensors/SafetensorsDirectory.ts"
import { readSafetensors, readTensor } from "../../src/safetensors/Reader.ts"
import { file, lengthField } from "./literal.ts"

const root = mkdtempSync(join(tmpdir(), "safetensors-"))
afterAll(() => rmSync(root, { recursive: true }))

const one = (name: string, value: number) =>
  file(`{${JSON.stringify(name)}:{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, Uint8Array.of(value, value))

let made = 0
/** A new directory with these files. */
const directory = (files: Record<string, Uint8Array | string>, at = `d${made++}`): string => {
  const path = join(root, at)
  mkdirSync(path, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), bytes)
  }
  return path
}

const index = (weight_map: Record<string, string>, metadata = {}) => JSON.stringify({ metadata, weight_map })
const sharded = (more: Record<string, Uint8Array | string> = {}) => ({
  "model.safetensors.index.json": index({ a: "1.safetensors", b: "2.safetensors" }, { total_size: 4 }),
  "1.safetensors": one("a", 1),
  "2.safetensors": one("b", 2),
  ...more
})

/** The one line that the user sees, with the directory cut away. */
const complaint = (path: string) =>
  openSafetensors(path).pipe(
    Effect.flip,
    Effect.map((error) => {
      expect(error).toBeInstanceOf(InvalidFile)
      return `${(error as InvalidFile).code} | ${error.message.replaceAll(`${path}/`, "").replaceAll(path, "DIR")}`
    })
  )

layer(Disk.layer)("a checkpoint", (it) => {
  it.effect("in one file", () =>
    Effect.gen(function*() {
      const path = directory({ "model.safetensors": one("a", 7) })
      const hf = yield* openSafetensors(path)
      expect(hf.shards).toMatchObject([{ file: "model.safetensors", path: join(path, "model.safetensors"), size: 63 }])
      expect([...hf.tensors.values()]).toEqual([{ name: "a", dtype: "U8", shape: [2], begin: 61, end: 63, shard: 0 }])
      expect(hf).toMatchObject({ directory: path, tensorBytes: 2, otherFiles: [], warnings: [] })
      expect(hf.index).toBe(undefined)
      expect([...(yield* readTensor(hf, "a"))]).toEqual([7, 7])
    }))

  it.effect("in shards", () =>
    Effect.gen(function*() {
      const path = directory(sharded({ "consolidated.safetensors": "not looked at" }))
      const hf = yield* openSafetensors(path)
      expect([...hf.tensors.values()].map(({ name, shard }) => [name, hf.shards[shard]!.file]))
        .toEqual([["a", "1.safetensors"], ["b", "2.safetensors"]])
      expect(hf).toMatchObject({ tensorBytes: 4, indexFile: "model.safetensors.index.json", otherFiles: ["consolidated.safetensors"], warnings: [] })
      expect(Buffer.from(hf.indexBytes!).toString()).toBe(sharded()["model.safetensors.index.json"])
      expect(hf.shards.map(({ headerBytes }) => headerBytes)).toEqual([one("a", 0).slice(0, 61), one("b", 0).slice(0, 61)])
    }))

  it.effect("whose index has a wrong total_size is read with a warning", () =>
    Effect.gen(function*() {
      const path = directory(sharded({ "model.safetensors.index.json": index({ a: "1.safetensors", b: "2.safetensors" }, { total_size: 5 }) }))
      expect((yield* openSafetensors(path)).warnings)
        .toEqual(["model.safetensors.index.json says total_size 5, the tensors have 4 bytes"])
    }))

  it.effect("under any name, if there is only one candidate", () =>
    Effect.gen(function*() {
      const single = yield* openSafetensors(directory({ "weights.safetensors": one("a", 1) }))
      expect(single.shards[0]!.file).toBe("weights.safetensors")
      const files = sharded()
      const indexed = yield* openSafetensors(directory({
        "model.fp16.safetensors.index.json": files["model.safetensors.index.json"],
        "1.safetensors": files["1.safetensors"],
        "2.safetensors": files["2.safetensors"]
      }))
      expect(indexed.indexFile).toBe("model.fp16.safetensors.index.json")
    }))

  it.effect("named by its file or by its index", () =>
    Effect.gen(function*() {
      const path = directory(sharded({ "other.safetensors.index.json": index({ b: "2.safetensors" }) }))
      expect([...(yield* openSafetensors(join(path, "1.safetensors"))).tensors.keys()]).toEqual(["a"])
      expect([...(yield* openSafetensors(join(path, "other.safetensors.index.json"))).tensors.keys()]).toEqual(["b"])
    }))

  it.effect("read whole", () =>
    Effect.gen(function*() {
      const { tensors } = yield* readSafetensors(directory(sharded()))
      expect([...tensors].map(([name, { data }]) => [name, ...data])).toEqual([["a", 1, 1], ["b", 2, 2]])
    }))

  it.effect("has no tensor but its own", () =>
    Effect.gen(function*() {
      const hf = yield* openSafetensors(directory(sharded()))
      expect(yield* Effect.flip(readTensor(hf, "toString"))).toMatchObject({ code: "safetensors/no-such-tensor" })
    }))

  it.effect("that changed since its headers were read is not read", () =>
    Effect.gen(function*() {
      const path = directory(sharded())
      const hf = yield* openSafetensors(path)
      yield* Effect.scoped(openShard(hf.shards[0]!))
      rmSync(join(path, "1.safetensors"))
      writeFileSync(join(path, "1.safetensors"), one("a", 9))
      appendFileSync(join(path, "2.safetensors"), "x")
      for (const shard of hf.shards) {
        expect(yield* Effect.flip(Effect.scoped(openShard(shard)))).toMatchObject({ code: "safetensors/changed", path: shard.path })
      }
    }))
})

layer(Disk.layer)("an overlay", (it) => {
  it.effect("counts where the index points at it; the copy below is stale", () =>
    Effect.gen(function*() {
      const two = file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, Uint8Array.of(8, 9))
      const path = directory({ "model.safetensors.index.json": index({ a: "over.safetensors", b: "base.safetensors" }), "base.safetensors": two, "over.safetensors": one("a", 1) })
      const hf = yield* openSafetensors(path)
      expect([...(yield* readTensor(hf, "a"))]).toEqual([1, 1])
      expect(hf.shards.map((s) => [s.file, s.tensors.map((t) => t.name), s.overlaid])).toEqual([["base.safetensors", ["b"], true], ["over.safetensors", ["a"], undefined]])
      expect(hf.warnings).toEqual(["1 tensor stands in several shards, and the index decides: a is read from over.safetensors, not from base.safetensors"])
    }))
})

layer(Disk.layer)("an index of shards that are not there", (it) => {
  it.effect("costs one listing, not one look-up each", () =>
    Effect.gen(function*() {
      const path = directory({ "model.safetensors.index.json": index(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`t${i}`, `${i % 2 ? "in/" : ""}${i}.safetensors`]))) })
      let calls = 0
      const counted = new Proxy(nodeCalls, {
        get: (target, name: keyof typeof nodeCalls) => typeof target[name] !== "function" ? target[name] : (...args: Array<unknown>) => {
          calls++
          return (target[name] as (...a: Array<unknown>) => unknown)(...args)
        }
      })
      const error = yield* Effect.flip(openSafetensors(path).pipe(Effect.provideService(Disk, counted)))
      expect(error).toMatchObject({ code: "safetensors/missing-shard" })
      expect(calls).toBeLessThan(20)
    }))
})

layer(Disk.layer)("links", (it) => {
  const cache = (to: string) => {
    const repo = directory({ "blobs/abc": one("a", 1), "elsewhere/abc": one("a", 1) })
    const snapshot = join(repo, "snapshots/0123")
    mkdirSync(snapshot, { recursive: true })
    symlinkSync(to, join(snapshot, "model.safetensors"))
    return snapshot
  }

  it.effect("of a Hugging Face cache lead to its blobs", () =>
    Effect.gen(function*() {
      const snapshot = cache("../../blobs/abc")
      expect((yield* openSafetensors(snapshot)).shards[0]!.path).toBe(join(snapshot, "model.safetensors"))
    }))

  it.effect("may stay inside the directory, which may be a link itself", () =>
    Effect.gen(function*() {
      const path = directory({ "real/w": one("a", 1) })
      symlinkSync("real/w", join(path, "model.safetensors"))
      symlinkSync(path, `${path}-link`)
      expect([...(yield* openSafetensors(`${path}-link`)).tensors.keys()]).toEqual(["a"])
    }))

  it.effect("are followed where the user names one", () =>
    Effect.gen(function*() {
      const path = directory({ "w": one("a", 1) })
      symlinkSync(join(path, "w"), join(root, "named.safetensors"))
      expect([...(yield* openSafetensors(join(root, "named.safetensors"))).tensors.keys()]).toEqual(["a"])
    }))

  it.effect("that leave the directory are refused", () =>
    Effect.gen(function*() {
      for (const to of ["../../elsewhere/abc", "../../blobs/../elsewhere/abc", join(root, "outside")]) {
        writeFileSync(join(root, "outside"), one("a", 1))
        const snapshot = cache(to)
        expect(yield* complaint(snapshot)).toMatch(/^safetensors\/link-escapes \| model\.safetensors: is a link to .*, outside its directory/)
      }
      const path = directory(sharded({ "model.safetensors.index.json": index({ a: "sub/1.safetensors" }) }))
      symlinkSync(directory({ "1.safetensors": one("a", 1) }), join(path, "sub"))
      expect(yield* complaint(path)).toContain("safetensors/link-escapes | sub/1.safetensors: ")
    }))
})

layer(Disk.layer)("a directory is refused for", (it) => {
  const cases: ReadonlyArray<readonly [string, Record<string, Uint8Array | string>, string]> = [
    ["no weights", { "config.json": "{}" }, "safetensors/no-weights | DIR: holds no safetensors weights"],
    ["pickled weights", { "pytorch_model-00001-of-00002.bin": "" },
      "safetensors/no-weights | DIR: holds no safetensors weights: its weights are pickles (.bin, .pt, .pth); of those only pytorch_model.bin and what pytorch_model.bin.index.json names are read as a model (a name: pytorch_model-00001-of-00002.bin)\n  Load it with transformers and write it with save_pretrained(DIR), which writes safetensors."],
    ["shards without an index", { "x.safetensors": "", "y.safetensors": "" },
      "safetensors/ambiguous | DIR: several files could be the checkpoint: x.safetensors, y.safetensors\n  A sharded checkpoint needs a model.safetensors.index.json."],
    ["several indexes", { "x.safetensors.index.json": "", "y.safetensors.index.json": "" },
      "safetensors/ambiguous | DIR: several files could be the checkpoint: x.safetensors.index.json, y.safetensors.index.json\n  Name the index instead of the directory."],
    ["a broken index", sharded({ "model.safetensors.index.json": "{" }),
      "safetensors/index-syntax | model.safetensors.index.json (byte 1): ends where a string was expected"],
    ["an index that points outside", sharded({ "model.safetensors.index.json": index({ a: "../1.safetensors" }) }),
      "safetensors/index-shard-name | model.safetensors.index.json (tensor a, byte 29): the shard name \"../1.safetensors\" is not a plain relative path inside the directory"],
    ["a missing shard", sharded({ "model.safetensors.index.json": index({ a: "1.safetensors", c: "3.safetensors", d: "3.safetensors" }) }),
      "safetensors/missing-shard | 3.safetensors (tensor c, record model.safetensors.index.json, byte 49): does not exist, but model.safetensors.index.json places tensors in it\n  2.safetensors is there, which the index does not name: an index of another numbering. Take the one that belongs to these files."],
    ["several missing shards", { "model.safetensors.index.json": index({ a: "3.safetensors", b: "1.safetensors", c: "2.safetensors" }), "2.safetensors": one("c", 1) },
      "safetensors/missing-shard | 1.safetensors (tensor b, record model.safetensors.index.json, byte 49): does not exist, but model.safetensors.index.json places tensors in it; 1 more shard is missing, the last of them 3.safetensors"],
    ["an index of another numbering", { ...sharded(), "model.safetensors.index.json": index({ a: "x/3.safetensors", b: "4.safetensors" }) },
      "safetensors/missing-shard | 4.safetensors (tensor b, record model.safetensors.index.json, byte 51): does not exist, but model.safetensors.index.json places tensors in it; 1 more shard is missing, the last of them x/3.safetensors\n" +
      "  1.safetensors, 2.safetensors are there, which the index does not name, and hold all tensors that it lists: an index of another numbering. Take the one that belongs to these files, or remove it if there is a single one."],
    ["a tensor that its shard does not hold", sharded({ "2.safetensors": one("c", 1) }),
      "safetensors/index-missing-tensor | model.safetensors.index.json (tensor b, byte 63): the index places it in 2.safetensors, which does not hold it"],
    ["a shard cut short", sharded({ "2.safetensors": one("b", 1).subarray(0, 62) }),
      "safetensors/data-truncated | 2.safetensors (tensor b, byte 13): its data should end at byte 2 after the header, but the file has only 1 there: it is cut short"],
    ["a shard cut inside its header", sharded({ "2.safetensors": one("b", 1).subarray(0, 20) }),
      "safetensors/header-truncated | 2.safetensors (byte 0): the header claims 53 bytes, the file has 12 after the length"],
    ["an empty shard", sharded({ "2.safetensors": "" }),
      "safetensors/file-too-short | 2.safetensors (byte 0): a file of 0 bytes cannot hold the 8 bytes of the header length"],
    ["overlapping tensors", { "model.safetensors": file(
      `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3) },
      "safetensors/overlap | model.safetensors (tensor b, byte 114): begins at byte 114, inside tensor a"]
  ]
  for (const [name, files, expected] of cases) {
    it.effect(name, () => complaint(directory(files)).pipe(Effect.map((text) => expect(text).toBe(expected))))
  }

  it.effect("a shard that is a directory or a FIFO", () =>
    Effect.gen(function*() {
      const path = directory({ "model.safetensors/x": "" })
      expect(yield* complaint(path)).toBe("safetensors/not-a-file | model.safetensors: is not a regular file")
      const fifo = join(directory({}), "model.safetensors")
      execFileSync("mkfifo", [fifo])
      expect(yield* complaint(dirname(fifo))).toBe("safetensors/not-a-file | model.safetensors: is not a regular file")
      expect((yield* Effect.flip(openSafetensors(fifo))) as InvalidFile).toMatchObject({ code: "safetensors/not-a-file" })
    }))

  it.effect("an index of more than a hundred megabytes", () =>
    Effect.gen(function*() {
      const path = directory(sharded())
      truncateSync(join(path, "model.safetensors.index.json"), 200_000_000)
      expect(yield* complaint(path)).toContain("safetensors/index-too-large | model.safetensors.index.json")
    }))

  it.effect("headers of more than 400 MB in all", () =>
    Effect.gen(function*() {
      const names = ["1", "2", "3", "4", "5"].map((name) => `${name}.safetensors`)
      const path = directory({ "model.safetensors.index.json": index(Object.fromEntries(names.map((name) => [name, name]))) })
      for (const name of names) {
        writeFileSync(join(path, name), lengthField(99_000_000n))
        truncateSync(join(path, name), 99_000_008) // sparse
      }
      const waiting: Array<(read: number) => void> = []
      const lengthsOnly: typeof nodeCalls = {
        ...nodeCalls,
        open: async (at, mode) => {
          const handle = await nodeCalls.open(at, mode)
          return { ...handle, read: (into, position) => position === 8 ? new Promise((end) => waiting.push(end)) : handle.read(into, position) }
        }
      }
      expect(yield* Effect.provideService(complaint(path), Disk, lengthsOnly)).toMatch(
        /^safetensors\/headers-too-large \| \d\.safetensors: with this header of 99000008 bytes the headers of the checkpoint pass 400000000 bytes$/
      )
      for (const end of waiting) end(0)
    }))

  it.effect("a path that does not exist", () =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(openSafetensors(join(root, "nothing")))).toMatchObject({ _tag: "InvalidFile", code: "file/missing" })
    }))
})

layer(Layer.succeed(Disk, {
  ...nodeCalls,
  open: async (path, mode) => {
    const handle = await nodeCalls.open(path, mode)
    return { ...handle, read: (into, position) => handle.read(into.subarray(0, 3), position) }
  }
}))("a disk that reads three bytes at a time", (it) => {
  it.effect("gives the same checkpoint", () =>
    Effect.gen(function*() {
      const hf = yield* openSafetensors(directory(sharded()))
      expect([...(yield* readTensor(hf, "b"))]).toEqual([2, 2])
    }))
})
