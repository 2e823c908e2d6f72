/** What two copies in a row do, one copy's worth of reading does: element by element, for random orders of axes. */
import { describe, expect, it } from "vitest"
import { pairedRows } from "../../src/bridge/PublisherForm.ts"
import { compose } from "../../src/tensor/compose.ts"
import { type Copy, type Shape, stridesOf, type View, volume } from "../../src/tensor/Copy.ts"
import { Random } from "../fuzz/Random.ts"

function* addresses(shape: Shape, { offset, strides }: Omit<View, "tensor">): Generator<number> {
  const index = shape.map(() => 0)
  for (let i = 0; i < volume(shape); i++) {
    yield index.reduce((sum, n, k) => sum + n * strides[k]!, offset)
    for (let k = index.length - 1; k >= 0 && ++index[k]! === shape[k]; k--) index[k] = 0
  }
}

const run = (copies: ReadonlyArray<Copy>, from: ReadonlyArray<number>, size: number): ReadonlyArray<number> => {
  const out = new Array<number>(size).fill(-1)
  for (const { shape, source, target } of copies) {
    const [read, write] = [addresses(shape, source), addresses(shape, target)]
    for (const at of write) {
      expect(out[at]).toBe(-1)
      out[at] = from[read.next().value!]!
    }
  }
  return out
}

const numbered = (size: number): ReadonlyArray<number> => Array.from({ length: size }, (_, i) => i)

describe("copies in a row", () => {
  it("of rotary pairs: row 2·p + half becomes row half·d/2 + p of its head", () => {
    const copy = pairedRows("there", "here", [8, 1], 2)
    expect(run([copy], numbered(8), 8)).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    expect(() => pairedRows("there", "here", [6, 1], 2)).toThrow("6 rows are not those of 2 heads of even width")
  })

  it("are one", () => {
    const random = new Random(16)
    for (let round = 0; round < 200; round++) {
      const [heads, half, columns] = [1 + random.below(4), 1 + random.below(4), 1 + random.below(5)] as const
      const shape = [heads * 2 * half, columns]
      const inner = pairedRows("stored", "seen", shape, heads)
      // A box of the tensor, its rows in groups in another order: what mappings and layouts ask for.
      const group = [1, 2, half, 2 * half].filter((n) => shape[0]! % n === 0)[random.below(3)] ?? 1
      const [groups, first] = [shape[0]! / group, random.below(columns)]
      const width = columns - first
      const outer: Copy = {
        shape: [groups, group, width],
        source: { tensor: "seen", offset: first, strides: [group * columns, columns, 1] },
        target: { tensor: "out", offset: 0, strides: [width, groups * width, 1] }
      }
      const size = volume(outer.shape)
      const between = run([inner], numbered(volume(shape)), volume(shape))
      expect(run(compose(inner, outer, shape), numbered(volume(shape)), size)).toEqual(run([outer], between, size))
    }
  })

  it("keeps what is done to values, and refuses to do it twice", () => {
    const shape = [4, 2]
    const inner = pairedRows("stored", "seen", shape, 1)
    const outer: Copy = { shape, source: { tensor: "seen", offset: 0, strides: stridesOf(shape) }, target: { tensor: "out", offset: 0, strides: stridesOf(shape) }, transform: { kind: "add", constant: 1 } }
    expect(compose(inner, outer, shape).every(({ transform }) => transform === outer.transform)).toBe(true)
    expect(() => compose(outer, inner, shape)).toThrow("not composed")
  })
})
