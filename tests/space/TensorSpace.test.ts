/** Spaces put together: the names change, the bytes that they stand for do not. */
import { Stream } from "effect"
import { describe, expect, it } from "vitest"
import { stream } from "../../src/engine/internal/stream.ts"
import { type FilePlace, prefixed, readSpace, type SpaceTensor, type TensorSpace, union } from "../../src/space/TensorSpace.ts"
import { openTensors } from "../../src/space/openTensors.ts"
import { identity } from "../../src/tensor/Copy.ts"
import { MemoryDisk } from "../engine/MemoryDisk.ts"

const space = <P extends FilePlace>(...tensors: ReadonlyArray<SpaceTensor<P>>): TensorSpace<P> => ({ tensors: new Map(tensors.map((t) => [t.name, t])) })

/** Four bytes of a file each, in C order. */
const range = (name: string, directory: string, offset: number): SpaceTensor<Extract<FilePlace, { kind: "range" }>> =>
  ({ name, dtype: "U8", shape: [2, 2], bytes: 4, role: "model", place: { kind: "range", directory, file: "f", offset, length: 4 } })

/** The transpose of four bytes of an archive. */
const view = (name: string, directory: string, offset: number): SpaceTensor<Extract<FilePlace, { kind: "view" }>> => ({
  name,
  dtype: "U8",
  shape: [2, 2],
  bytes: 4,
  role: "model",
  place: {
    kind: "view", directory, file: "f", offset, elements: 4, strides: [1, 2], item: { offset, length: 4 }, storage: { start: offset, end: offset + 4, crc32: 0 }
  }
})

const tower = space(range("layers.0.weight", "/vision", 1), range("norm.weight", "/vision", 5))
const language = space(view("layers.0.weight", "/language", 0))

const diskOf = (): MemoryDisk => {
  const disk = new MemoryDisk()
  disk.files.set("/vision/f", Uint8Array.from({ length: 9 }, (_, i) => i))
  disk.files.set("/language/f", Uint8Array.of(10, 11, 12, 13))
  return disk
}

describe("a prefixed space", () => {
  it("has the same tensors, in the same order, under longer names", () => {
    const vision = prefixed(tower, "vision.")
    expect([...vision.tensors.keys()]).toEqual(["vision.layers.0.weight", "vision.norm.weight"])
    expect([...vision.tensors.values()].map((t) => t.name)).toEqual([...vision.tensors.keys()])
    expect([...vision.tensors.values()].map((t) => t.place)).toEqual([...tower.tensors.values()].map((t) => t.place))
  })
})

describe("a union", () => {
  const both = union(prefixed(tower, "vision."), prefixed(language, "language."))

  it("has the tensors of both, those of the first one first", () => {
    expect([...both.tensors.keys()]).toEqual(["vision.layers.0.weight", "vision.norm.weight", "language.layers.0.weight"])
  })

  it("of spaces that have a name in common is refused, with the name", () => {
    expect(() => union(tower, language)).toThrow("both of the spaces to be joined have a tensor layers.0.weight")
  })

  it("reads every tensor where it lies, whatever the kind of its files", async () => {
    const read = readSpace(both)
    const arrays = Array.from(both.tensors.values(), ({ dtype, name, shape }) => ({ id: name, dtype, shape, copies: () => read(identity(name, name, shape)) }))
    const chunks = await diskOf().run(Stream.runCollect(stream(arrays, {})))
    expect(chunks.map(({ array, bytes }) => [array.id, [...bytes]])).toEqual([
      ["vision.layers.0.weight", [1, 2, 3, 4]],
      ["vision.norm.weight", [5, 6, 7, 8]],
      ["language.layers.0.weight", [10, 12, 11, 13]]
    ])
    expect(() => read(identity("layers.0.weight", "y", [2, 2]))).toThrow("there is no tensor layers.0.weight")
  })

  it("is opened as any space, folder by folder", async () => {
    const disk = diskOf()
    const tensors = [...both.tensors.values()]
    const open = await disk.run(openTensors(tensors))
    const chunks = await disk.run(Stream.runCollect(stream(tensors.flatMap(open.pieces), {})))
    expect(chunks.flatMap(({ bytes }) => [...bytes])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 11, 13])
    expect(open.storages).toEqual([{ path: "/language/f", key: "language.layers.0.weight", start: 0, end: 4, crc32: 0 }])
  })
})
