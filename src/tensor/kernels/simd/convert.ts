/** Conversions of elements that models need most: the rest is in `../cast.ts` and its neighbours. */
import { type Body, define, type Definition, type I32, i32, v128, type V128 } from "./assembler.ts"

const LOW = [0, 1, 2, 3, 4, 5, 6, 7]

/** The bytes of elements of two vectors, both by number. */
const bytesOfElements = (elements: ReadonlyArray<number>, width: number): ReadonlyArray<number> =>
  elements.flatMap((element) => Array.from({ length: width }, (_, byte) => element * width + byte))

const splat = (body: Body, n: number) => body.let(v128.splat32(i32.const(n)))

/** BF16 to F32, `count` elements, a multiple of 8. */
export const widen = (): Definition => define(["source", "target", "count"], (body, source, target, count) => {
  const zero = splat(body, 0)
  // Each element behind one of zero: the second vector's elements are numbered from 8.
  const halves = [0, 4].map((first) => bytesOfElements([0, 1, 2, 3].flatMap((i) => [0, 8 + first + i]), 2))
  body.for(i32.const(0), count, 8, () => {
    const values = body.let(v128.load(source))
    for (const [i, lanes] of halves.entries()) body.do(v128.store(target, v128.shuffle(zero, values, lanes), 16 * i))
    body.add(source, i32.const(16))
    body.add(target, i32.const(32))
  })
})

/**
 * F32 to BF16, to nearest and ties to even; `count` elements, a multiple of 8. Returns how many changed value, or −1 if some are
 * infinite or NaN, for which this is wrong.
 */
export const narrow = (): Definition => define(["source", "target", "count"], (body, source, target, count) => {
  const low = splat(body, 0xffff)
  const exponent = splat(body, 0x7f800000)
  const one = splat(body, 1)
  const half = splat(body, 0x7fff)
  const zero = splat(body, 0)
  // In each lane minus the number of changed elements.
  const changed = splat(body, 0)
  const special = splat(body, 0)
  const rounded = (offset: number): V128 => {
    const x = body.let(v128.load(source, offset))
    body.set(special, v128.or(special, v128.eq32(v128.and(x, exponent), exponent)))
    body.set(changed, v128.add32(changed, v128.ne32(v128.and(x, low), zero)))
    return v128.add32(v128.add32(x, half), v128.and(v128.shrU32(x, i32.const(16)), one))
  }
  const highHalves = bytesOfElements(LOW.map((i) => 2 * i + 1), 2)
  body.for(i32.const(0), count, 8, () => {
    const first = body.let(rounded(0))
    body.do(v128.store(target, v128.shuffle(first, rounded(16), highHalves)))
    body.add(source, i32.const(32))
    body.add(target, i32.const(16))
  })
  const total = body.let(i32.const(0))
  for (const lane of [0, 1, 2, 3]) body.set(total, i32.sub(total, v128.lane32(changed, lane)))
  return i32.select(i32.const(-1), total, v128.anyTrue(special))
})

/** Elements done per turn, so that the loop's own steps weigh little. */
const TURN = 8

/**
 * Of `runs` × `run` one-byte codes, those of run r become 2-byte elements of the table at the address that the 32-bit word r of
 * `tables` holds.
 */
export const lookUp = (): Definition => define(["source", "tables", "target", "runs", "run"], (body, source, tables, target, runs, run) => {
  const element = (table: I32, i: number) =>
    i32.store16(target, i32.load16(i32.add(table, i32.shl(i32.load8(source, i), i32.const(1)))), 2 * i)
  const advance = (elements: number) => {
    body.add(source, i32.const(elements))
    body.add(target, i32.const(2 * elements))
  }
  const whole = body.let(i32.and(run, i32.const(-TURN)))
  body.for(i32.const(0), runs, 1, () => {
    const table = body.let(i32.load32(tables))
    body.for(i32.const(0), whole, TURN, () => {
      for (let i = 0; i < TURN; i++) body.do(element(table, i))
      advance(TURN)
    })
    body.for(whole, run, 1, () => {
      body.do(element(table, 0))
      advance(1)
    })
    body.add(tables, i32.const(4))
  })
})

/** Four-bit codes, two to a byte and the low half first, to a byte each: `count` bytes of them, a multiple of 16. */
export const unpackNibbles = (): Definition => define(["source", "target", "count"], (body, source, target, count) => {
  const four = body.let(v128.splat8(i32.const(15)))
  const halves = [0, 8].map((first) => LOW.flatMap((i) => [first + i, 16 + first + i]))
  body.for(i32.const(0), count, 16, () => {
    const pairs = body.let(v128.load(source))
    const low = body.let(v128.and(pairs, four))
    const high = body.let(v128.shrU8(pairs, i32.const(4)))
    for (const [i, lanes] of halves.entries()) body.do(v128.store(target, v128.shuffle(low, high, lanes), 16 * i))
    body.add(source, i32.const(16))
    body.add(target, i32.const(32))
  })
})
