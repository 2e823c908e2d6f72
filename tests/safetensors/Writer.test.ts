import { layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect } from "vitest"
import { IoError, NoSpace } from "../../src/errors.ts"
import { lift } from "../../src/io/attempt.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { parseHeader } from "../../src/safetensors/Header.ts"
import { readSafetensors } from "../../src/safetensors/Reader.ts"
import { createSafetensors, writeSafetensors } from "../../src/safetensors/Writer.ts"
import { file, seeded } from "./literal.ts"

const root = mkdtempSync(join(tmpdir(), "safetensors-"))
afterAll(() => rmSync(root, { recursive: true }))
let made = 0
const fresh = () => mkdtempSync(join(root, `${made++}-`))

const tensor = (name: string, ...values: ReadonlyArray<number>) =>
  ({ name, dtype: "U8" as const, shape: [values.length], data: Uint8Array.from(values) })

layer(Disk.layer)("a safetensors file", (it) => {
  it.effect("is written in any order of its bytes", () =>
    Effect.gen(function*() {
      const path = join(fresh(), "x.safetensors")
      const header = encodeHeader([{ name: "a", dtype: "U8", shape: [3] }, { name: "b", dtype: "U8", shape: [2] }])
      yield* Effect.scoped(Effect.gen(function*() {
        const writer = yield* createSafetensors(path, header)
        yield* lift(() => writer.write(Uint8Array.of(4, 5), writer.offsetOf("b")))
        yield* lift(() => writer.write(Uint8Array.of(2, 3), writer.offsetOf("a") + 1))
        yield* lift(() => writer.write(Uint8Array.of(1), writer.offsetOf("a")))
        yield* writer.commit
      }))
      expect([...readFileSync(path)]).toEqual([...header.headerBytes, 1, 2, 3, 4, 5])
    }))

  it.effect("reproduces a source byte for byte from its header", () =>
    Effect.gen(function*() {
      const path = join(fresh(), "x.safetensors")
      const source = file(
        `\n{ "b" : {"data_offsets":[1,3], "shape":[2],"dtype":"U8","note":null},"a":{"dtype":"I8","shape":[],"data_offsets":[0,1]}}`,
        Uint8Array.of(1, 2, 3)
      )
      const header = parseHeader(source)
      yield* Effect.scoped(Effect.gen(function*() {
        const writer = yield* createSafetensors(path, header)
        for (const { begin, end } of header.tensors) yield* lift(() => writer.write(source.subarray(begin, end), begin))
        yield* writer.commit
      }))
      expect(new Uint8Array(readFileSync(path))).toEqual(source)
    }))

  it.effect("is not there, and nothing else is, without a commit", () =>
    Effect.gen(function*() {
      const directory = fresh()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* createSafetensors(join(directory, "x.safetensors"), encodeHeader([]))
        expect(readdirSync(directory)).toEqual([expect.stringMatching(/^\.x\.safetensors\.[0-9a-f]{12}\.partial$/)])
      }))
      expect(readdirSync(directory)).toEqual([])
    }))

  it.effect("takes no bytes outside its data, and knows its tensors only", () =>
    Effect.scoped(Effect.gen(function*() {
      const writer = yield* createSafetensors(join(fresh(), "x.safetensors"), encodeHeader([tensor("a", 1)]))
      const at = writer.offsetOf("a")
      yield* Effect.promise(async () => {
        await expect(writer.write(Uint8Array.of(1), at - 1)).rejects.toThrow(RangeError)
        await expect(writer.write(Uint8Array.of(1, 2), at)).rejects.toThrow(RangeError)
      })
      expect(() => writer.offsetOf("toString")).toThrow(RangeError)
    })))

  it.effect("written whole is in the order of the library and reads back", () =>
    Effect.gen(function*() {
      const path = join(fresh(), "x.safetensors")
      const wide = { name: "wide", dtype: "F32" as const, shape: [1], data: Uint8Array.of(0, 0, 0x80, 0x3f) }
      const header = yield* writeSafetensors(path, [tensor("b", 1, 2), tensor("a", 3), wide, tensor("empty")], new Map([["format", "pt"]]))
      expect(header.tensors.map(({ name }) => name)).toEqual(["wide", "a", "b", "empty"])
      const { metadata, tensors } = yield* readSafetensors(path)
      expect(metadata).toEqual(new Map([["format", "pt"]]))
      expect([...tensors.values()].map(({ data, name }) => [name, ...data]))
        .toEqual([["wide", 0, 0, 0x80, 0x3f], ["a", 3], ["b", 1, 2], ["empty"]])
    }))

  it.effect("reads back whatever was written", () =>
    Effect.gen(function*() {
      const random = seeded(3)
      for (let round = 0; round < 20; round++) {
        const path = join(fresh(), "x.safetensors")
        const given = Array.from({ length: random(8) }, (_, i) => tensor(`t${i}`, ...Array.from({ length: random(50) }, () => random(256))))
        yield* writeSafetensors(path, given)
        const { tensors } = yield* readSafetensors(path)
        expect(new Map([...tensors].map(([name, { data }]) => [name, data]))).toEqual(new Map(given.map(({ data, name }) => [name, data])))
      }
    }))

  it.effect("replaces an older one, and follows the umask", () =>
    Effect.gen(function*() {
      const path = join(fresh(), "x.safetensors")
      writeFileSync(path, "old")
      const before = process.umask(0o027)
      yield* writeSafetensors(path, [tensor("a", 1)]).pipe(Effect.ensuring(Effect.sync(() => process.umask(before))))
      expect(statSync(path).mode & 0o777).toBe(0o640)
      expect(statSync(path).size).toBeGreaterThan(3)
    }))

  it.effect("is not written if data and shape disagree", () =>
    Effect.gen(function*() {
      const directory = fresh()
      const error = yield* Effect.flip(writeSafetensors(join(directory, "x.safetensors"), [{ ...tensor("a", 1), shape: [2] }]))
      expect(error).toMatchObject({ code: "safetensors/data-length", problem: "1 bytes of data, the shape needs 2", place: { tensor: "a" } })
      expect(readdirSync(directory)).toEqual([])
    }))
})

/** The n-th call that changes the disk fails. */
const failing = (n: number, error: (path: string) => Error) => {
  let left = n
  const or = <A>(path: string, call: () => Promise<A>): Promise<A> => left-- === 0 ? Promise.reject(error(path)) : call()
  const calls: typeof nodeCalls = {
    ...nodeCalls,
    open: (path, mode) =>
      or(path, async () => {
        const handle = await nodeCalls.open(path, mode)
        return {
          ...handle,
          write: (from, position) => or(path, () => handle.write(from, position)),
          truncate: (size) => or(path, () => handle.truncate(size)),
          sync: () => or(path, () => handle.sync())
        }
      }),
    rename: (from, to) => or(to, () => nodeCalls.rename(from, to)),
    syncDirectory: (path) => or(path, () => nodeCalls.syncDirectory(path))
  }
  return { calls, reached: () => left < 0 }
}

layer(Layer.empty)("whichever call fails", (it) => {
  it.effect("the old file or the complete new one is there, and nothing else", () =>
    Effect.gen(function*() {
      for (let n = 0;; n++) {
        const directory = fresh()
        const path = join(directory, "x.safetensors")
        writeFileSync(path, "old")
        const disk = failing(n, (at) => n % 2 ? new NoSpace({ path: at, needed: 0 }) : new IoError({ path: at, operation: "test", errno: "EIO" }))
        const exit = yield* Effect.exit(Effect.provideService(writeSafetensors(path, [tensor("a", 1), tensor("b", 2)]), Disk, disk.calls))
        expect(readdirSync(directory)).toEqual(["x.safetensors"])
        const bytes = readFileSync(path)
        if (bytes.toString() !== "old") expect(parseHeader(bytes).tensors).toHaveLength(2)
        if (!disk.reached()) {
          expect(exit._tag).toBe("Success")
          expect(n).toBeGreaterThan(6)
          return
        }
        expect(exit._tag).toBe("Failure")
      }
    }))
})
