/** The layers of a decoder, as steps: what is read in which order, and what is computed with it. */
import type { Arithmetic, Weights } from "../arithmetic/Arithmetic.ts"
import type { AttentionFacts, Rotary } from "../model/Forward.ts"
import { attend, columnsOf } from "./attend.ts"
import type { AttentionPlan, DecoderPlan, ExpertsPlan, LatentAttentionPlan, LayerPlan, Linear, MlpPlan, Norm } from "./DecoderPlan.ts"
import { activated, normalised, sigmoid } from "./elementwise.ts"
import { Later, Promised } from "./Later.ts"
import { rotaryTable, type RotaryTable, rotate } from "./rotary.ts"
import { type Choice, chooseExperts } from "./route.ts"
import { type Read, type Steps, wholeParameter } from "./steps.ts"

/** Hidden states, or what is made of them: [tokens, width]. */
type States = Later<Float32Array>

/** Rows of a parameter whose values differ from the stored ones when they are computed with: from row `first` on. */
export type ChangeOf<P> = (parameter: P) => ((rows: Weights, first: number) => Weights) | undefined

/** What all layers share. */
export class Pass<P> {
  readonly arithmetic: Arithmetic
  readonly tokens: number
  readonly plan: DecoderPlan<P>
  readonly #changeOf: ChangeOf<P>
  /** Most layers turn alike. */
  readonly #tables = new Map<string, RotaryTable>()

  constructor(arithmetic: Arithmetic, plan: DecoderPlan<P>, tokens: number, changeOf: ChangeOf<P> = () => undefined) {
    this.#changeOf = changeOf
    this.arithmetic = arithmetic
    this.plan = plan
    this.tokens = tokens
  }

  table(rotary: Rotary): RotaryTable {
    const key = JSON.stringify(rotary)
    let table = this.#tables.get(key)
    if (table === undefined) this.#tables.set(key, table = rotaryTable(rotary, this.tokens))
    return table
  }

  /** x · Wᵀ, some rows of W at a time: those from `first` on, of so many in all. */
  product(parameter: P, x: States, take: (part: Float32Array, rows: number, first: number, of: number) => void): Read<P> {
    const change = this.#changeOf(parameter)
    return {
      parameter,
      take: (rows, first, of) => {
        const a = x.get()
        const b = change ? change(rows, first) : rows
        take(this.arithmetic.product({ a, m: a.length / rows.columns, b, transposed: true }), rows.rows, first, of)
      }
    }
  }

  /** x · Wᵀ + bias, for as many rows as x has. */
  *linear(module: Linear<P>, x: States): Steps<P, States> {
    const product = new Promised<Float32Array>()
    let out: Float32Array | undefined
    const read = this.product(module.weight, x, (part, rows, first, of) => {
      if (rows === of) out = part
      else placeColumns(out ??= new Float32Array((part.length / rows) * of), of, part, rows, first)
    })
    yield { ...read, done: () => product.give(out ?? new Float32Array(0)) }
    if (module.bias === undefined) return product
    const bias = yield* wholeParameter(module.bias)
    return new Later(() => withBias(product.get(), bias.get()))
  }

  *norm(module: Norm<P>, x: States, epsilon = this.plan.facts.epsilon): Steps<P, States> {
    const weight = yield* wholeParameter(module.weight)
    const bias = module.bias === undefined ? undefined : yield* wholeParameter(module.bias)
    const { zeroCentred } = this.plan.facts
    return new Later(() => normalised(x.get(), { weight: weight.get(), epsilon, zeroCentred, ...(bias ? { bias: bias.get() } : {}) }))
  }

  /** The norm, where there is one. */
  *perhaps(module: Norm<P> | undefined, x: States): Steps<P, States> {
    return module === undefined ? x : yield* this.norm(module, x)
  }

  /** The same of a latent. */
  *latent(module: Norm<P> | undefined, x: States): Steps<P, States> {
    return module === undefined ? x : yield* this.norm(module, x, this.plan.facts.latentEpsilon)
  }
}

/** Columns [first, first + columns) of `all`, [rows, width]. */
const placeColumns = (all: Float32Array, width: number, part: Float32Array, columns: number, first: number): void => {
  for (let row = 0; row < all.length / width; row++) all.set(part.subarray(row * columns, (row + 1) * columns), row * width + first)
}

const withBias = (x: Float32Array, bias: Float32Array): Float32Array => x.map((value, i) => value + bias[i % bias.length]!)

const sum = (a: Float32Array, b: Float32Array, scale = 1): Float32Array => a.map((value, i) => value + scale * b[i]!)

/** Rows of `linear_qkv`, per group its query heads, key, value, as columns of queries, keys and values by head. */
const byHead = (qkv: Float32Array, { groups, headDim, heads, valueDim }: AttentionPlan<unknown>["block"]) => {
  const own = (heads / groups) * headDim
  const size = own + headDim + valueDim
  const tokens = qkv.length / (groups * size)
  const part = (start: number, width: number): Float32Array => {
    const out = new Float32Array(tokens * groups * width)
    for (let i = 0; i < tokens * groups; i++) out.set(qkv.subarray(i * size + start, i * size + start + width), i * width)
    return out
  }
  return { queries: part(0, own), keys: part(own, headDim), values: part(own + headDim, valueDim) }
}

/** Queries or keys, normalised and turned in the order of the layer. */
function* prepared<P>(pass: Pass<P>, x: States, norm: Norm<P> | undefined, heads: number, headDim: number, { normAfterRotary, rotary }: AttentionFacts): Steps<P, States> {
  const turned = (y: States): States =>
    new Later(() => {
      const out = y.get().slice()
      if (rotary) rotate(out, pass.table(rotary), rotary, heads, headDim)
      return out
    })
  if (normAfterRotary) return yield* pass.perhaps(norm, turned(x))
  return turned(yield* pass.perhaps(norm, x))
}

/** Queries whose scores grow with their position. */
const growing = (queries: Float32Array, tokens: number, { beta, length }: NonNullable<AttentionFacts["growth"]>): Float32Array => {
  const width = queries.length / tokens
  return queries.map((value, i) => value * (1 + beta * Math.log(1 + Math.floor(Math.floor(i / width) / length))))
}

function* attention<P>(pass: Pass<P>, layer: AttentionPlan<P>, x: States): Steps<P, States> {
  const { block, facts } = layer
  const qkv = yield* pass.linear(layer.qkv, yield* pass.perhaps(layer.norm, x))
  const parts = new Later(() => byHead(qkv.get(), block))
  const queries = yield* prepared(pass, new Later(() => parts.get().queries), layer.queryNorm, block.heads, block.headDim, facts)
  const keys = yield* prepared(pass, new Later(() => parts.get().keys), layer.keyNorm, block.groups, block.headDim, facts)
  const grown = facts.growth === undefined ? queries : new Later(() => growing(queries.get(), pass.tokens, facts.growth!))
  const sinks = layer.sinks === undefined ? undefined : yield* wholeParameter(layer.sinks)
  const mixed = new Later(() =>
    attend(pass.arithmetic, pass.tokens, {
      queries: grown.get(),
      keys: keys.get(),
      values: parts.get().values,
      ...(sinks ? { sinks: sinks.get() } : {})
    }, block, facts))
  return yield* pass.perhaps(layer.outputNorm, yield* pass.linear(layer.output, mixed))
}

function* latentQuery<P>(pass: Pass<P>, { query }: LatentAttentionPlan<P>, x: States): Steps<P, States> {
  if ("weight" in query) return yield* pass.linear(query, x)
  return yield* pass.linear(query.up, yield* pass.latent(query.norm, yield* pass.linear(query.down, x)))
}

/** Keys of a head: `nopeDim` elements of its own, then the rotary part, which all heads share. */
const latentHeads = (up: Float32Array, shared: Float32Array, { heads, nopeDim, ropeDim, valueDim }: LatentAttentionPlan<unknown>["block"]) => {
  const [size, key] = [nopeDim + valueDim, nopeDim + ropeDim]
  const count = up.length / size
  const [keys, values] = [new Float32Array(count * key), new Float32Array(count * valueDim)]
  for (let i = 0; i < count; i++) {
    const token = Math.floor(i / heads)
    keys.set(up.subarray(i * size, i * size + nopeDim), i * key)
    keys.set(shared.subarray(token * ropeDim, (token + 1) * ropeDim), i * key + nopeDim)
    values.set(up.subarray(i * size + nopeDim, (i + 1) * size), i * valueDim)
  }
  return { keys, values }
}

function* latentAttention<P>(pass: Pass<P>, layer: LatentAttentionPlan<P>, x: States): Steps<P, States> {
  const { block, facts: { rotary, ...facts } } = layer
  const { heads, nopeDim, rank, ropeDim, valueDim } = block
  const turned = (y: Float32Array, count: number, size: number, start: number): Float32Array => {
    if (rotary) rotate(y, pass.table(rotary), rotary, count, size, start)
    return y
  }
  const input = yield* pass.perhaps(layer.norm, x)
  const query = yield* latentQuery(pass, layer, input)
  const down = yield* pass.linear(layer.down, input)
  const latent = new Later(() => columnsOf(down.get(), rank + ropeDim, 0, rank))
  const up = yield* pass.linear(layer.up, yield* pass.latent(layer.latentNorm, latent))
  const mixed = new Later(() => {
    const shared = turned(columnsOf(down.get(), rank + ropeDim, rank, ropeDim), 1, ropeDim, 0)
    const queries = turned(query.get().slice(), heads, nopeDim + ropeDim, nopeDim)
    return attend(pass.arithmetic, pass.tokens, { queries, ...latentHeads(up.get(), shared, block) }, { heads, groups: heads, headDim: nopeDim + ropeDim, valueDim }, facts)
  })
  return yield* pass.perhaps(layer.outputNorm, yield* pass.linear(layer.output, mixed))
}

function* twoMatrices<P>(pass: Pass<P>, { down, up }: Pick<MlpPlan<P>, "up" | "down">, { ffn, gated }: MlpPlan<P>["block"], x: States): Steps<P, States> {
  const wide = yield* pass.linear(up, x)
  return yield* pass.linear(down, new Later(() => activated(wide.get(), ffn, gated, pass.plan.activation)))
}

/** Each token's output times a scalar of its own. */
const weighed = (x: Float32Array, by: Float32Array): Float32Array => {
  const width = x.length / by.length
  return x.map((value, i) => value * sigmoid(by[Math.floor(i / width)]!))
}

function* mlp<P>(pass: Pass<P>, layer: MlpPlan<P>, x: States): Steps<P, States> {
  const input = yield* pass.perhaps(layer.norm, x)
  const out = yield* pass.perhaps(layer.outputNorm, yield* twoMatrices(pass, layer, layer.block, input))
  if (layer.tokenGate === undefined) return out
  const gate = yield* pass.linear({ weight: layer.tokenGate }, input)
  return new Later(() => weighed(out.get(), gate.get()))
}

/** Tokens that an expert works on. */
interface ExpertShare {
  readonly token: number
  readonly weight: number
}

const sharesOf = (choices: ReadonlyArray<ReadonlyArray<Choice>>): ReadonlyMap<number, ReadonlyArray<ExpertShare>> =>
  Map.groupBy(choices.flatMap((own, token) => own.map(({ expert, weight }) => ({ expert, token, weight }))), ({ expert }) => expert)

const gathered = (x: Float32Array, width: number, rows: ReadonlyArray<number>): Float32Array => {
  const out = new Float32Array(rows.length * width)
  for (const [i, row] of rows.entries()) out.set(x.subarray(row * width, (row + 1) * width), i * width)
  return out
}

/** total += each row of `out`, weighed, at its token. */
const addShares = (total: Float32Array, width: number, shares: ReadonlyArray<ExpertShare>, out: Float32Array): void => {
  for (const [i, { token, weight }] of shares.entries()) {
    for (let c = 0; c < width; c++) total[token * width + c]! += weight * out[i * width + c]!
  }
}

/** Only experts that some token goes through are read. */
function* experts<P>(pass: Pass<P>, layer: ExpertsPlan<P>, x: States): Steps<P, States> {
  const { block: { experts: count, ffn, gated, hidden }, facts, perToken } = layer
  const input = yield* pass.perhaps(layer.norm, x)
  const logits = yield* pass.linear(layer.router, input)
  const correction = layer.correction === undefined ? undefined : yield* wholeParameter(layer.correction)
  const shared = layer.shared === undefined ? undefined : yield* mlp(pass, layer.shared, input)
  // Experts are read by what the router says.
  yield "settle"
  const choices = Array.from({ length: pass.tokens }, (_, t) =>
    chooseExperts([...logits.get().subarray(t * count, (t + 1) * count)], correction?.get(), perToken, facts))
  const total = shared ? shared.get().slice() : new Float32Array(pass.tokens * hidden)
  for (const [expert, shares] of [...sharesOf(choices)].sort(([a], [b]) => a - b)) {
    const own = new Later(() => gathered(input.get(), hidden, shares.map(({ token }) => token)))
    const out = yield* twoMatrices(pass, layer.experts[expert]!, { ffn, gated }, own)
    yield { compute: () => addShares(total, hidden, shares, out.get()) }
  }
  return new Later(() => total)
}

/** x plus what attention makes of it, plus what the MLP makes of that. */
export function* decoderLayer<P>(pass: Pass<P>, layer: LayerPlan<P>, x: States): Steps<P, States> {
  const { attention: mixer, mlp: feed } = layer
  const attended = mixer.kind === "attention" ? yield* attention(pass, mixer, x) : yield* latentAttention(pass, mixer, x)
  const { residualScale } = pass.plan.facts
  const between = new Later(() => sum(x.get(), attended.get(), residualScale))
  const fed = feed.kind === "mlp" ? yield* mlp(pass, feed, between) : yield* experts(pass, feed, between)
  return new Later(() => sum(between.get(), fed.get(), residualScale))
}
