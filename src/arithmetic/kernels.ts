/**
 * Loops in WebAssembly vectors: a matrix product in tiles that stay in registers, its factors packed so that every load is a whole
 * vector. Each element of the result is a sum in the order of k, product and sum rounded one after the other: how the work is cut
 * changes no bit.
 */
import { type Body, define, type Definition, type I32, i32, type Local, v128, type V128, VECTOR } from "../tensor/kernels/simd/assembler.ts"
import { library } from "../tensor/kernels/simd/Simd.ts"
import type { SumSteps } from "./Arithmetic.ts"

/** Lanes of F32 in a vector. */
export const LANES = 4
/** A tile of the result: its 8 sums, 2 vectors of b and a value of a fill 11 of 16 registers. */
export const TILE = { rows: 4, columns: 2 * LANES } as const
/** Steps of k per turn of the innermost loop. */
const TURN = 4

const PANEL = TILE.columns * 4

/** Four weights as F32, from F32 or from BF16. */
const loadWeights = { F32: v128.load, BF16: (at: I32, offset = 0): V128 => v128.shl32(v128.load16x4(at, offset), i32.const(16)) }
const WIDTH = { F32: 4, BF16: 2 }
type Packed = keyof typeof WIDTH

/** The upper 16 bits of the lanes of two vectors, by byte. */
const UPPER_HALVES = Array.from({ length: 2 * LANES }, (_, i) => [4 * i + 2, 4 * i + 3]).flat()

const words = (...numbers: ReadonlyArray<number>): ReadonlyArray<number> => numbers.flatMap((n) => [0, 1, 2, 3].map((byte) => 4 * n + byte))

/** Four vectors as the rows of a matrix, transposed. */
const transposed = (body: Body, [a, b, c, d]: ReadonlyArray<V128>): ReadonlyArray<V128> => {
  const pair = (x: V128, y: V128, lanes: ReadonlyArray<number>) => body.let(v128.shuffle(x, y, lanes))
  const [ac, AC] = [pair(a!, c!, words(0, 4, 1, 5)), pair(a!, c!, words(2, 6, 3, 7))]
  const [bd, BD] = [pair(b!, d!, words(0, 4, 1, 5)), pair(b!, d!, words(2, 6, 3, 7))]
  return [pair(ac, bd, words(0, 4, 1, 5)), pair(ac, bd, words(2, 6, 3, 7)), pair(AC, BD, words(0, 4, 1, 5)), pair(AC, BD, words(2, 6, 3, 7))]
}

/**
 * Rows, [panels · across, k] with a stride in bytes, into panels [k, across], `across` being 4 or 8. k is a multiple of 4: what lies
 * behind the end of a row is packed, too, and not used.
 */
const packRows = (dtype: Packed, across: number): Definition => define(["source", "stride", "target", "panels", "k"], (body, source, stride, target, panels, k) => {
  const fours = (from: Local<"i32">) => transposed(body, Array.from({ length: LANES }, (_, i) => {
    if (i > 0) body.add(from, stride)
    return body.let(loadWeights[dtype](from))
  }))
  const firsts = Array.from({ length: across / LANES }, (_, i) => body.let(i32.mul(stride, i32.const(LANES * i))))
  const whole = body.let(i32.mul(stride, i32.const(across)))
  body.for(i32.const(0), panels, 1, () => {
    const column = body.let(source)
    body.for(i32.const(0), k, LANES, () => {
      for (const [part, first] of firsts.entries()) {
        for (const [i, row] of fours(body.let(i32.add(column, first))).entries()) body.do(v128.store(target, row, across * 4 * i + VECTOR * part))
      }
      body.add(target, i32.const(across * 4 * LANES))
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

/**
 * W := W + factor · a · b, in place and once per element: W [rows, panels · 8] with a stride in bytes, a in panels [k, 4] and b in panels
 * [k, 8], which begin `aStep` and `bStep` bytes after one another; rows are a multiple of 4. Rows come first: so few of W lie near one
 * another that no two of them need the same place in a cache.
 */
const addProduct = (dtype: Packed, steps: SumSteps): Definition => define(
  ["a", "aStep", "b", "bStep", "w", "stride", "rows", "panels", "k", "by"],
  (body, a, aStep, b, bStep, w, stride, rows, panels, k, by) => {
    const turns = body.let(i32.and(k, i32.const(-TURN)))
    const splat = (n: number) => body.let(v128.splat32(i32.const(n)))
    const factor = body.let(v128.loadSplat32(by))
    const [half, one, high] = [splat(0x7fff), splat(1), splat(-0x10000)]
    /** The upper half of each lane is its number in BF16; NaN, quiet as arithmetic makes it, keeps its bits. */
    const rounded = (x: Local<"v128">): V128 =>
      v128.select(x, v128.add32(v128.add32(x, half), v128.and(v128.shrU32(x, i32.const(16)), one)), v128.neF32(x, x))
    const inDtype = (x: V128): V128 => (dtype === "F32" ? x : v128.and(rounded(body.let(x)), high))
    const scaled = (sum: V128): V128 => {
      if (steps === "once") return v128.mulF32(sum, factor)
      return inDtype(v128.mulF32(steps === "stepwise" ? inDtype(sum) : sum, factor))
    }
    body.for(i32.const(0), rows, TILE.rows, () => {
      const panel = body.let(b)
      const tile = body.let(w)
      body.for(i32.const(0), panels, 1, () => {
        const [left, right] = [body.let(a), body.let(panel)]
        const sums = Array.from({ length: TILE.rows }, () => [splat(0), splat(0)])
        const step = (i: number) => {
          const values = [0, VECTOR].map((offset) => body.let(v128.load(right, PANEL * i + offset)))
          for (const [row, pair] of sums.entries()) {
            const value = body.let(v128.loadSplat32(left, VECTOR * i + 4 * row))
            for (const [part, sum] of pair.entries()) body.set(sum, v128.addF32(sum, v128.mulF32(value, values[part]!)))
          }
        }
        const advance = (count: number) => {
          body.add(left, i32.const(VECTOR * count))
          body.add(right, i32.const(PANEL * count))
        }
        body.for(i32.const(0), turns, TURN, () => {
          for (let i = 0; i < TURN; i++) step(i)
          advance(TURN)
        })
        body.for(turns, k, 1, () => {
          step(0)
          advance(1)
        })
        const row = body.let(tile)
        for (const [i, pair] of sums.entries()) {
          if (i > 0) body.add(row, stride)
          const added = pair.map((sum, part) => {
            const change = body.let(scaled(sum))
            return body.let(v128.addF32(loadWeights[dtype](row, part * LANES * WIDTH[dtype]), change))
          })
          if (dtype === "F32") for (const [part, value] of added.entries()) body.do(v128.store(row, value, part * VECTOR))
          else {
            const [first, second] = added.map((value) => body.let(rounded(value)))
            body.do(v128.store(row, v128.shuffle(first!, second!, UPPER_HALVES)))
          }
        }
        body.add(panel, bStep)
        body.add(tile, i32.const(TILE.columns * WIDTH[dtype]))
      })
      body.add(a, aStep)
      body.add(w, i32.mul(stride, i32.const(TILE.rows)))
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
  packRowsF32: packRows("F32", TILE.columns),
  packRowsBF16: packRows("BF16", TILE.columns),
  packLeftF32: packRows("F32", TILE.rows),
  packLeftBF16: packRows("BF16", TILE.rows),
  packColumnsF32: packColumns("F32"),
  packColumnsBF16: packColumns("BF16"),
  multiply: multiply(),
  addF32: addProduct("F32", "once"),
  addBF16: addProduct("BF16", "once"),
  addBF16DeltaFirst: addProduct("BF16", "delta-first"),
  addBF16Stepwise: addProduct("BF16", "stepwise"),
  scale: scale(),
  add: add()
}))

export type Kernels = ReturnType<typeof kernelsOf>
