import { expect, it } from "vitest"
import { ChunkSelection } from "../../src/checkpoint/ChunkSelection.ts"
import { StoredArrays } from "../../src/checkpoint/StoredArrays.ts"
import { type Box, type Shape, stridesOf, volume } from "../../src/tensor/Copy.ts"
import type { StoredChunk, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { cpuMs } from "../measure/cpu.ts"
import { assemble, Contents } from "../families/executor.ts"
import { random } from "../torch/tools.ts"

/** A tensor in chunks of at most these sizes. */
const cut = (shape: Shape, largest: Shape): StoredTensor => {
  const boxes = shape.reduce<ReadonlyArray<Box>>((own, n, k) => own.flatMap(({ offsets, sizes }) =>
    Array.from({ length: Math.ceil(n / largest[k]!) }, (_, i) => ({
      offsets: [...offsets, i * largest[k]!],
      sizes: [...sizes, Math.min(largest[k]!, n - i * largest[k]!)]
    }))), [{ offsets: [], sizes: [] }])
  return { dtype: "F32", shape, chunks: boxes.map((box, i): StoredChunk => ({ ...box, file: `__${i % 3}_0.distcp`, offset: i * 10_000, length: 1 })) }
}

/** The addresses of a box's elements, in its order. */
const addressesIn = (shape: Shape, { offsets, sizes }: Box): Float64Array => {
  const [strides, own] = [stridesOf(shape), stridesOf(sizes)]
  return Float64Array.from({ length: volume(sizes) }, (_, i) =>
    sizes.reduce((sum, n, k) => sum + (offsets[k]! + Math.floor(i / own[k]!) % n) * strides[k]!, 0))
}

/** All chunks of a tensor, in items as this program writes them. */
const storedIn = (tensor: StoredTensor): StoredArrays => {
  const chunks = new ChunkSelection("/c")
  chunks.add("w", tensor)
  for (const sources of chunks.chosen.values()) for (const source of sources.values()) source.header = 0
  return new StoredArrays(chunks)
}

it("any box of a tensor is assembled from chunks cut in any other way", () => {
  const { below } = random(3)
  for (let run = 0; run < 200; run++) {
    const shape = Array.from({ length: below(4) }, () => 1 + below(7))
    const sizes = () => shape.map((n) => 1 + below(n))
    const stored = cut(shape, sizes())
    const chunks = storedIn(stored)
    const contents = new Contents()
    for (const chunk of stored.chunks) contents.put(chunks.array(chunk)!, addressesIn(shape, chunk))
    for (const box of cut(shape, sizes()).chunks) {
      expect(assemble({ id: "w", dtype: "F32", shape: box.sizes, copies: () => chunks.within(stored, box, "w") }, contents)).toEqual(addressesIn(shape, box))
    }
  }
})

it("20 000 chunks against as many of another layout: each meets its own only", () => {
  const stored = cut([200, 100, 4, 4], [1, 1, 4, 4])
  const chunks = storedIn(stored)
  expect(cpuMs(() => {
    const copies = cut([200, 100, 4, 4], [1, 1, 2, 4]).chunks.flatMap((box) => chunks.within(stored, box, "w"))
    expect(copies).toHaveLength(40_000)
  })).toBeLessThan(10_000)
})
