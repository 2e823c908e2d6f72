/**
 * Functions in WebAssembly, written as expressions: of its instructions those that loops over bytes in 16-byte vectors need.
 * Opcodes and sections: WebAssembly 2.0 core specification, chapter 5.
 */

/** Bytes of a vector. */
export const VECTOR = 16

export type Type = "i32" | "i64" | "v128"

/** Instructions that leave one value. */
export interface Expr<T extends Type = Type> {
  readonly type: T
  readonly code: ReadonlyArray<number>
}
export type I32 = Expr<"i32">
export type V128 = Expr<"v128">

/** A variable; as an expression, its value. */
export interface Local<T extends Type = Type> extends Expr<T> {
  readonly index: number
}

/** Instructions that leave nothing. */
export type Statement = ReadonlyArray<number>

const TYPES: Readonly<Record<Type, number>> = { i32: 0x7f, i64: 0x7e, v128: 0x7b }

/** LEB128. */
const unsigned = (n: number): Array<number> => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...unsigned(Math.floor(n / 0x80))])
const signed = (n: number): Array<number> =>
  n >= -0x40 && n < 0x40 ? [n & 0x7f] : [(n & 0x7f) | 0x80, ...signed(n >> 7)]

const vector = (op: number): ReadonlyArray<number> => [0xfd, ...unsigned(op)]

const expr = <T extends Type>(type: T, ...code: ReadonlyArray<ReadonlyArray<number>>): Expr<T> => ({ type, code: code.flat() })

const unary = <A extends Type, T extends Type>(type: T, op: ReadonlyArray<number>) => (a: Expr<A>): Expr<T> => expr(type, a.code, op)
const binary = <A extends Type, B extends Type, T extends Type>(type: T, op: ReadonlyArray<number>) =>
  (a: Expr<A>, b: Expr<B>): Expr<T> => expr(type, a.code, b.code, op)

/** Addresses need no alignment; `offset` is in bytes. */
const load = <T extends Type>(type: T, op: ReadonlyArray<number>) => (at: I32, offset = 0): Expr<T> =>
  expr(type, at.code, op, [0], unsigned(offset))
const store = <T extends Type>(op: ReadonlyArray<number>) => (at: I32, value: Expr<T>, offset = 0): Statement =>
  [...at.code, ...value.code, ...op, 0, ...unsigned(offset)]

const i32Binary = (op: number) => binary<"i32", "i32", "i32">("i32", [op])

export const i32 = {
  const: (n: number): I32 => expr("i32", [0x41], signed(n)),
  add: i32Binary(0x6a),
  sub: i32Binary(0x6b),
  mul: i32Binary(0x6c),
  and: i32Binary(0x71),
  xor: i32Binary(0x73),
  shl: i32Binary(0x74),
  ltS: i32Binary(0x48),
  geS: i32Binary(0x4e),
  /** `a` where the condition holds. */
  select: (a: I32, b: I32, condition: I32): I32 => expr("i32", a.code, b.code, condition.code, [0x1b]),
  load8: load("i32", [0x2d]),
  load16: load("i32", [0x2f]),
  load32: load("i32", [0x28]),
  store8: store<"i32">([0x3a]),
  store16: store<"i32">([0x3b]),
  store32: store<"i32">([0x36])
}

export const i64 = {
  load: load("i64", [0x29]),
  store: store<"i64">([0x37])
}

const v128Binary = (op: number) => binary<"v128", "v128", "v128">("v128", vector(op))
const v128Shift = (op: number) => binary<"v128", "i32", "v128">("v128", vector(op))

export const v128 = {
  load: load("v128", vector(0)),
  store: store<"v128">(vector(11)),
  /** Bytes of the two vectors, by number: 0–15 of `a`, 16–31 of `b`. */
  shuffle: (a: V128, b: V128, lanes: ReadonlyArray<number>): V128 => expr("v128", a.code, b.code, vector(13), lanes),
  /** One 32-bit value in every lane. */
  loadSplat32: load("v128", vector(9)),
  /** Four unsigned 16-bit values, each in a lane of 32 bits. */
  load16x4: load("v128", vector(4)),
  splat8: unary<"i32", "v128">("v128", vector(15)),
  splat32: unary<"i32", "v128">("v128", vector(17)),
  and: v128Binary(78),
  or: v128Binary(80),
  xor: v128Binary(81),
  anyTrue: unary<"v128", "i32">("i32", vector(83)),
  shrU8: v128Shift(109),
  shl32: v128Shift(171),
  shrU32: v128Shift(173),
  /** Bits of `a` where those of the mask are set, else of `b`. */
  select: (a: V128, b: V128, mask: V128): V128 => expr("v128", a.code, b.code, mask.code, vector(82)),
  eq32: v128Binary(55),
  ne32: v128Binary(56),
  add32: v128Binary(174),
  sub32: v128Binary(177),
  neF32: v128Binary(66),
  addF32: v128Binary(228),
  mulF32: v128Binary(230),
  lane32: (a: V128, lane: number): I32 => expr("i32", a.code, vector(27), [lane])
}

/** `memory.copy` */
export const copyBytes = (target: I32, source: I32, length: I32): Statement =>
  [...target.code, ...source.code, ...length.code, 0xfc, 10, 0, 0]

/** The body of a function under construction: statements follow one another in the order of the calls. */
export class Body {
  readonly #parameters: number
  readonly #locals: Array<Type> = []
  readonly #code: Array<number> = []

  constructor(parameters: number) {
    this.#parameters = parameters
  }

  /** A new variable with a value. */
  let<T extends Type>(value: Expr<T>): Local<T> {
    const index = this.#parameters + this.#locals.push(value.type) - 1
    const local = localAt(index, value.type)
    this.set(local, value)
    return local
  }

  set<T extends Type>(local: Local<T>, value: Expr<T>): void {
    this.#code.push(...value.code, 0x21, ...unsigned(local.index))
  }

  add(local: Local<"i32">, value: I32): void {
    this.set(local, i32.add(local, value))
  }

  do(...statements: ReadonlyArray<Statement>): void {
    for (const statement of statements) this.#code.push(...statement)
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#code.push(...condition.code, 0x04, 0x40)
    then()
    if (otherwise) {
      this.#code.push(0x05)
      otherwise()
    }
    this.#code.push(0x0b)
  }

  /** For i = from; i < to (signed); i += step. */
  for(from: I32, to: I32, step: number, body: (i: I32) => void): void {
    const i = this.let(from)
    this.#code.push(0x02, 0x40, 0x03, 0x40, ...i32.geS(i, to).code, 0x0d, 1)
    body(i)
    this.add(i, i32.const(step))
    this.#code.push(0x0c, 0, 0x0b, 0x0b)
  }

  encode(result: I32 | undefined): ReadonlyArray<number> {
    const locals = this.#locals.flatMap((type) => [1, TYPES[type]])
    return sized([...unsigned(this.#locals.length), ...locals, ...this.#code, ...(result?.code ?? []), 0x0b])
  }
}

const localAt = <T extends Type>(index: number, type: T): Local<T> => ({ type, index, code: [0x20, ...unsigned(index)] })

/** A function of integers; it may return one. */
export interface Definition {
  readonly parameters: number
  readonly returns: boolean
  readonly code: ReadonlyArray<number>
}

type Parameters = ReadonlyArray<string>
type Locals<P extends Parameters> = { readonly [K in keyof P]: Local<"i32"> }

export const define = <const P extends Parameters>(names: P, build: (body: Body, ...parameters: Locals<P>) => I32 | void): Definition => {
  const body = new Body(names.length)
  const result = build(body, ...(names.map((_, i) => localAt(i, "i32")) as Locals<P>)) ?? undefined
  return { parameters: names.length, returns: result !== undefined, code: body.encode(result) }
}

const sized = (bytes: ReadonlyArray<number>): ReadonlyArray<number> => [...unsigned(bytes.length), ...bytes]
const list = (items: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => [...unsigned(items.length), ...items.flat()]
const section = (id: number, items: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => [id, ...sized(list(items))]
const named = (text: string): ReadonlyArray<number> => sized([...Buffer.from(text)])

/** A module of these functions; they work on a memory that is imported as `m.m`. */
export const encodeModule = (functions: Readonly<Record<string, Definition>>, shared: boolean): Uint8Array<ArrayBuffer> => {
  const all = Object.entries(functions)
  const types = all.map(([, { parameters, returns }]) => [
    0x60,
    ...list(Array.from({ length: parameters }, () => [TYPES.i32])),
    ...list(returns ? [[TYPES.i32]] : [])
  ])
  // From 1 to 65536 pages; a shared memory says so.
  const limits = [shared ? 3 : 1, 1, ...unsigned(1 << 16)]
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, types),
    ...section(2, [[...named("m"), ...named("m"), 2, ...limits]]),
    ...section(3, all.map((_, i) => unsigned(i))),
    ...section(7, all.map(([name], i) => [...named(name), 0, ...unsigned(i)])),
    ...section(10, all.map(([, { code }]) => code))
  ])
}
