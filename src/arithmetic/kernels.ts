/**
 * Loops in WebAssembly vectors: a matrix product in tiles that stay in registers, its factors packed so that every load is a whole
 * vector. Each element of the result is a sum in the order of k, product and sum rounded one after the other: how the work is cut
 * changes no bit.
 */
import { type Body, define, type Definition, type I32, i32, type Local, v128, type V128, VECTOR } from "../tensor/kernels/simd/assembler.ts"
import { library } from "../tensor/kernels/simd/Simd.ts"

/** Lanes of F32 in a vector. */
const LANES = 4
/** A tile of the result: its 8 sums, 2 vectors of b and a value of a fill 11 of 16 registers. */
export const TILE = { rows: 4, columns: 2 * LANES } as const
/** Steps of k per turn of the innermost loop. */
const TURN = 4

const PANEL = TILE.columns * 4

/** Four weights as F32, from F32 or from BF16. */
const loadWeights = { F32: v128.load, BF16: (at: I32, offset = 0): V128 => v128.shl32(v128.load16x4(at, offset), i32.const(16)) }
const WIDTH = { F32: 4, BF16: 2 }
type Packed = keyof typeof WIDTH

const words = (...numbers: ReadonlyArray<number>): ReadonlyArray<number> => numbers.flatMap((n) => [0, 1, 2, 3].map((byte) => 4 * n + byte))

/** Four vectors as the rows of a matrix, transposed. */
const transposed = (body: Body, [a, b, c, d]: ReadonlyArray<V128>): ReadonlyArray<V128> => {
  const pair = (x: V128, y: V128, lanes: ReadonlyArray<number>) => body.let(v128.shuffle(x, y, lanes))
  const [ac, AC] = [pair(a!, c!, words(0, 4, 1, 5)), pair(a!, c!, words(2, 6, 3, 7))]
  const [bd, BD] = [pair(b!, d!, words(0, 4, 1, 5)), pair(b!, d!, words(2, 6, 3, 7))]
  return [pair(ac, bd, words(0, 4, 1, 5)), pair(ac, bd, words(2, 6, 3, 7)), pair(AC, BD, words(0, 4, 1, 5)), pair(AC, BD, words(2, 6, 3, 7))]
}

/**
 * Rows of b, [panels · 8, k] with a stride in bytes, into panels [k, 8]. k is a multiple of 4: what lies behind the end of a row is
 * packed, too, and not used.
 */
const packRows = (dtype: Packed): Definition => define(["source", "stride", "target", "panels", "k"], (body, source, stride, target, panels, k) => {
  const fours = (from: Local<"i32">) => transposed(body, Array.from({ length: LANES }, (_, i) => {
    if (i > 0) body.add(from, stride)
    return body.let(loadWeights[dtype](from))
  }))
  const half = body.let(i32.mul(stride, i32.const(LANES)))
  const whole = body.let(i32.mul(half, i32.const(2)))
  body.for(i32.const(0), panels, 1, () => {
    const column = body.let(source)
    body.for(i32.const(0), k, LANES, () => {
      const left = fours(body.let(column))
      const right = fours(body.let(i32.add(column, half)))
      for (let i = 0; i < LANES; i++) {
        body.do(v128.store(target, left[i]!, PANEL * i), v128.store(target, right[i]!, PANEL * i + VECTOR))
      }
      body.add(target, i32.const(PANEL * LANES))
      body.add(column, i32.const(LANES * WIDTH[dtype]))
    })
    body.add(source, whole)
  })
})

/** Columns of b, [k, panels · 8] with a stride in bytes, into panels [k, 8]. */
const packColumns = (dtype: Packed): Definition => define(["source", "stride", "target", "panels", "k"], (body, source, stride, target, panels, k) => {
  body.for(i32.const(0), panels, 1, () => {
    const row = body.let(source)
    body.for(i32.const(0), k, 1, () => {
      for (const half of [0, 1]) body.do(v128.store(target, loadWeights[dtype](row, half * LANES * WIDTH[dtype]), half * VECTOR))
      body.add(target, i32.const(PANEL))
      body.add(row, stride)
    })
    body.add(source, i32.const(TILE.columns * WIDTH[dtype]))
  })
})

/**
 * c += a · b: a [rows, k] and c [rows, panels · 8] with strides in bytes, b in panels that begin `panelStep` bytes after one another;
 * rows are a multiple of 4.
 */
const multiply = (): Definition => define(
  ["a", "aStride", "b", "panelStep", "c", "cStride", "rows", "panels", "k"],
  (body, a, aStride, b, panelStep, c, cStride, rows, panels, k) => {
    const turns = body.let(i32.and(k, i32.const(-TURN)))
    body.for(i32.const(0), panels, 1, () => {
      const rowOfA = body.let(a)
      const tile = body.let(c)
      body.for(i32.const(0), rows, TILE.rows, () => {
        const below = (first: I32, stride: I32): ReadonlyArray<Local<"i32">> => {
          const at = [body.let(first)]
          while (at.length < TILE.rows) at.push(body.let(i32.add(at.at(-1)!, stride)))
          return at
        }
        const [left, sumsAt] = [below(rowOfA, aStride), below(tile, cStride)]
        const sums = sumsAt.map((at) => [0, VECTOR].map((offset) => body.let(v128.load(at, offset))))
        const right = body.let(b)
        const step = (i: number) => {
          const values = [0, VECTOR].map((offset) => body.let(v128.load(right, PANEL * i + offset)))
          for (const [row, pair] of sums.entries()) {
            const value = body.let(v128.loadSplat32(left[row]!, 4 * i))
            for (const [half, sum] of pair.entries()) body.set(sum, v128.addF32(sum, v128.mulF32(value, values[half]!)))
          }
        }
        const advance = (steps: number) => {
          for (const at of left) body.add(at, i32.const(4 * steps))
          body.add(right, i32.const(PANEL * steps))
        }
        body.for(i32.const(0), turns, TURN, () => {
          for (let i = 0; i < TURN; i++) step(i)
          advance(TURN)
        })
        body.for(turns, k, 1, () => {
          step(0)
          advance(1)
        })
        for (const [row, pair] of sums.entries()) {
          for (const [half, sum] of pair.entries()) body.do(v128.store(sumsAt[row]!, sum, half * VECTOR))
        }
        body.add(rowOfA, i32.mul(aStride, i32.const(TILE.rows)))
        body.add(tile, i32.mul(cStride, i32.const(TILE.rows)))
      })
      body.add(b, panelStep)
      body.add(c, i32.const(PANEL))
    })
  }
)

/** x := x · the value at `by`; `count` is a multiple of 4. */
const scale = (): Definition => define(["x", "by", "count"], (body, x, by, count) => {
  const factor = body.let(v128.loadSplat32(by))
  body.for(i32.const(0), count, LANES, () => {
    body.do(v128.store(x, v128.mulF32(v128.load(x), factor)))
    body.add(x, i32.const(VECTOR))
  })
})

/** x := x + y; `count` is a multiple of 4. */
const add = (): Definition => define(["x", "y", "count"], (body, x, y, count) => {
  body.for(i32.const(0), count, LANES, () => {
    body.do(v128.store(x, v128.addF32(v128.load(x), v128.load(y))))
    body.add(x, i32.const(VECTOR))
    body.add(y, i32.const(VECTOR))
  })
})

export const kernelsOf = library(() => ({
  packRowsF32: packRows("F32"),
  packRowsBF16: packRows("BF16"),
  packColumnsF32: packColumns("F32"),
  packColumnsBF16: packColumns("BF16"),
  multiply: multiply(),
  scale: scale(),
  add: add()
}))

export type Kernels = ReturnType<typeof kernelsOf>
