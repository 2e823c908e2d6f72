/** Beyond 2^32 in every respect: offsets in files, elements of an array, sizes of files. The files are holes with a few bytes. */
import { Effect, Stream } from "effect"
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { execute } from "../../src/engine/internal/execute.ts"
import { fileWindows } from "../../src/engine/internal/FileWindows.ts"
import { stream } from "../../src/engine/internal/stream.ts"
import type { SourceArray, TargetArray } from "../../src/engine/internal/Target.ts"
import { Disk } from "../../src/io/Disk.ts"
import { identity } from "../../src/tensor/Copy.ts"

const TIB = 2 ** 40

let directory: string
beforeAll(() => { directory = mkdtempSync(join(tmpdir(), "large-")) })
afterAll(() => rmSync(directory, { recursive: true }))

/** A hole with bytes at some positions. */
const hole = (name: string, size: number, parts: ReadonlyArray<readonly [position: number, bytes: Uint8Array]>): string => {
  const path = join(directory, name)
  const file = openSync(path, "w")
  ftruncateSync(file, size)
  for (const [position, bytes] of parts) writeSync(file, bytes, 0, bytes.byteLength, position)
  closeSync(file)
  return path
}

describe("a file of 3 TiB", () => {
  const values = Uint8Array.from({ length: 4096 }, (_, i) => i * 7 + (i >> 8))

  it.each(["buffered", "direct", "auto"] as const)("is read at its far end, %s", async (io) => {
    const start = 2.7 * TIB - (2.7 * TIB) % 4096 + 12
    const path = hole(`far-${io}`, 3 * TIB, [[start, values]])
    const source: SourceArray = { path, offset: 0, dtype: "U8", shape: [3 * TIB] }
    const contiguous: TargetArray = {
      id: "run", dtype: "U8", shape: [4096],
      copies: () => [{ shape: [4096], source: { tensor: source, offset: start, strides: [1] }, target: { tensor: "run", offset: 0, strides: [1] } }]
    }
    const transposed: TargetArray = {
      id: "transposed", dtype: "U8", shape: [64, 64],
      copies: () => [{ shape: [64, 64], source: { tensor: source, offset: start, strides: [1, 64] }, target: { tensor: "transposed", offset: 0, strides: [64, 1] } }]
    }
    const file = { name: `near-${io}`, size: 8192, segments: [contiguous, transposed].map((array) => ({ kind: "array" as const, array, crc: true })) }
    await Effect.runPromise(execute([file], directory, { io }).pipe(Effect.provide(Disk.layer)))
    const expected = Buffer.concat([values, Uint8Array.from({ length: 4096 }, (_, i) => values[(i % 64) * 64 + (i >> 6)]!)])
    expect(Buffer.compare(readFileSync(join(directory, file.name)), expected)).toBe(0)
  })

  it("is written in windows that follow one another to its end", () => {
    const source: SourceArray = { path: "far", offset: 0, dtype: "BF16", shape: [1.5 * TIB] }
    const array: TargetArray = { id: "whole", dtype: "BF16", shape: source.shape, copies: () => [identity(source, "whole", source.shape)] }
    const literal = new Uint8Array(100)
    const file = { name: "whole", size: 3 * TIB + 100, segments: [{ kind: "bytes" as const, bytes: literal }, { kind: "array" as const, array, crc: false }] }
    let position = 0
    for (const window of fileWindows(file, { block: 2 ** 31, wide: 2 ** 31, read: 2 ** 31, work: 4096, cell: 2 ** 40 }, 0, () => {})) {
      expect(window.position).toBe(position)
      for (const { at, start } of window.parts) expect(start + 100).toBe(position + at)
      position += window.size
      expect(window.last).toBe(position === file.size)
    }
    expect(position).toBe(file.size)
  })
})

it("an array of more than 2^32 bytes and 2^31 elements arrives whole", async () => {
  const elements = 2 ** 31 + 1024 + 3
  const tail = Uint8Array.from({ length: 6000 }, (_, i) => i * 13)
  const path = hole("many", 8 + 2 * elements, [[8 + 2 * elements - tail.byteLength, tail]])
  const source: SourceArray = { path, offset: 8, dtype: "BF16", shape: [elements] }
  const array: TargetArray = { id: "many", dtype: "BF16", shape: [elements], copies: () => [identity(source, "many", [elements])] }
  let end = 0
  let found = Buffer.alloc(0)
  await Effect.runPromise(
    stream([array], { lend: true, io: "direct" }).pipe(
      Stream.runForEach(({ bytes, last, offset }) =>
        Effect.sync(() => {
          expect(offset).toBe(end)
          end += bytes.byteLength
          if (offset + bytes.byteLength > 2 * elements - tail.byteLength) {
            found = Buffer.concat([found, bytes.subarray(Math.max(0, 2 * elements - tail.byteLength - offset))])
          }
          expect(last).toBe(end === 2 * elements)
        })),
      Effect.provide(Disk.layer)
    )
  )
  expect(end).toBe(2 * elements)
  expect(Buffer.compare(found, tail)).toBe(0)
})
