import { describe, expect, it } from "vitest"
import { ChunkFinder } from "../../src/checkpoint/ChunkFinder.ts"
import { type Box, type Shape, volume } from "../../src/tensor/Copy.ts"
import type { StoredChunk } from "../../src/torch/DcpMetadata.ts"
import { random } from "../torch/tools.ts"

const chunkAt = (offsets: Shape, sizes: Shape): StoredChunk => ({ offsets, sizes, file: "__0_0.distcp", offset: offsets.reduce((n, o) => n * 1000 + o, 0), length: 1 })
const finder = (shape: Shape, chunks: ReadonlyArray<StoredChunk>) => new ChunkFinder({ shape, chunks })

const meets = (a: Box, b: Box): boolean =>
  volume(a.sizes) > 0 && a.offsets.every((o, k) => o < b.offsets[k]! + b.sizes[k]! && b.offsets[k]! < o + a.sizes[k]!)

describe("ChunkFinder", () => {
  it("finds what a look at every chunk finds: grids of any cuts, and any boxes", () => {
    const { below } = random(7)
    for (let run = 0; run < 300; run++) {
      const shape = Array.from({ length: below(4) }, () => 1 + below(6))
      const cuts = shape.map((n) => [...new Set([0, ...Array.from({ length: below(3) }, () => below(n))])].sort((a, b) => a - b))
      const grid = cuts.reduce<ReadonlyArray<Box>>((boxes, starts, k) => boxes.flatMap(({ offsets, sizes }) => starts.map((start, i) => ({
        offsets: [...offsets, start],
        sizes: [...sizes, (starts[i + 1] ?? shape[k]!) - start]
      }))), [{ offsets: [], sizes: [] }])
      // In no order, and with one of a rank that has no elements.
      const chunks = grid.map(({ offsets, sizes }) => chunkAt(offsets, sizes)).sort(() => below(3) - 1)
      if (shape.length > 0) chunks.push(chunkAt(shape.map(() => 0), shape.map(() => 0)))
      const own = finder(shape, chunks)
      for (let i = 0; i < 10; i++) {
        const offsets = shape.map((n) => below(n))
        const box = { offsets, sizes: shape.map((n, k) => 1 + below(n - offsets[k]!)) }
        expect(new Set(own.meeting(box))).toEqual(new Set(chunks.filter((chunk) => meets(chunk, box))))
      }
    }
  })

  it("of 30 000 experts, an expert is found without a look at the others", () => {
    const [layers, experts] = [60, 500]
    let looks = 0
    const counted = (offsets: Shape): StoredChunk => {
      const chunk = chunkAt(offsets, [1, 1, 8, 4])
      return { ...chunk, get offsets() { looks++; return offsets } }
    }
    const chunks = Array.from({ length: layers * experts }, (_, i) => counted([Math.floor(i / experts), i % experts, 0, 0]))
    const own = finder([layers, experts, 8, 4], chunks)
    looks = 0
    expect([...own.meeting({ offsets: [31, 207, 4, 0], sizes: [1, 1, 4, 4] })]).toHaveLength(1)
    expect(looks).toBeLessThan(50)
  })
})
