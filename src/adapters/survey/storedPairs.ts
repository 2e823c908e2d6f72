/** The pairs of A and B in a space, found by their names alone, with the boxes in which the matrices of each module lie. Pure. */
import { isAdapterKey } from "../../model/adapterKey.ts"
import { layerOf } from "../../space/names.ts"
import { isIn, type SpaceTensor } from "../../space/TensorSpace.ts"
import { type Box, type Shape, volume, wholeBox } from "../../tensor/Copy.ts"
import { peftPartsOf } from "../PeftDirectory.ts"
import { withShared } from "../sharedMatrix.ts"

/** A part of a tensor. */
export interface MatrixPlace {
  readonly tensor: SpaceTensor
  readonly box: Box
}

/** A module's matrices: of experts that lie apart, one entry each; of what all experts share, one. */
export interface FoundPair {
  readonly module: string
  readonly slot?: string
  readonly stack?: string
  readonly layer?: number
  readonly rank: number
  readonly inputs: number
  readonly outputs: number
  readonly experts?: number
  /** `peft` stores the B of all experts in one tensor `[out, rank·experts]`, column `k·experts + e`, and A one expert behind the other. */
  readonly packed: boolean
  readonly magnitude: boolean
  /** One of its matrices is that of all experts, as SGLang stores it. */
  readonly shared?: true
  readonly a: ReadonlyArray<MatrixPlace>
  /** For each expert the pieces that B consists of, one below the other. */
  readonly b: ReadonlyArray<ReadonlyArray<MatrixPlace>>
}

export interface FoundPairs {
  readonly pairs: ReadonlyArray<FoundPair>
  readonly unpaired: ReadonlyArray<string>
}

interface Sides {
  a?: SpaceTensor
  b: Array<SpaceTensor>
  magnitude?: SpaceTensor
}

const collect = (tensors: Iterable<SpaceTensor>, partsOf: (name: string) => { readonly module: string; readonly side: "a" | "b" | "magnitude" } | undefined) => {
  const sides = new Map<string, Sides>()
  const unpaired: Array<string> = []
  for (const tensor of tensors) {
    const parts = partsOf(tensor.name)
    if (!parts) {
      unpaired.push(tensor.name)
      continue
    }
    let own = sides.get(parts.module)
    if (!own) sides.set(parts.module, own = { b: [] })
    if (parts.side === "b") own.b.push(tensor)
    else own[parts.side] = tensor
  }
  return { sides, unpaired }
}

const namesIn = ({ a, b, magnitude }: Sides): ReadonlyArray<string> => [a, ...b, magnitude].flatMap((tensor) => tensor?.name ?? [])

const layered = (path: string): { readonly stack?: string; readonly layer?: number } => {
  const layer = layerOf(`${path}.`)
  return layer?.index === undefined ? {} : { stack: layer.stack, layer: layer.index }
}

const whole = (tensor: SpaceTensor): MatrixPlace => ({ tensor, box: wholeBox(tensor.shape) })

/** Pairs of a directory of `peft`. `rankOf`: what its configuration says; packed experts are told from it. */
export const peftPairs = (tensors: Iterable<SpaceTensor>, rankOf: (module: string) => number | undefined): FoundPairs => {
  const { sides, unpaired } = collect(tensors, peftPartsOf)
  const pairs: Array<FoundPair> = []
  const halves = new Map(Iterator.from(sides).map(([module, { b: [b], ...own }]) => [module, { ...own, ...(b ? { b } : {}) }]))
  for (const [module, own] of withShared(halves)) {
    const { a, b } = own
    if (!a || !b || a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== b.shape[1] || a.shape[0] === 0) {
      unpaired.push(...[a, b, own.magnitude].flatMap((tensor) => tensor?.name ?? []))
      continue
    }
    const [rows, inputs] = a.shape as readonly [number, number]
    const rank = rankOf(module) ?? rows
    const experts = rows % rank === 0 ? rows / rank : 1
    pairs.push({
      module,
      ...layered(module),
      rank: rows / experts,
      inputs,
      outputs: b.shape[0]!,
      ...(experts > 1 ? { experts } : {}),
      packed: experts > 1,
      magnitude: own.magnitude !== undefined,
      ...(own.shared ? { shared: true } as const : {}),
      a: [whole(a)],
      b: [[whole(b)]]
    })
  }
  return { pairs, unpaired }
}

const KEY = /^(.*)\.adapter\.(?:adapter_(q|k|v|gate|up)\.)?(?:(linear_in|linear_out)\.weight(?:\.[^.]+)?|(weight_magnitude))$/

const keyPartsOf = (key: string) => {
  const [, module, slot, linear, magnitude] = KEY.exec(key) ?? []
  if (module === undefined) return undefined
  return { module: slot === undefined ? module : `${module}\u0000${slot}`, side: magnitude ? "magnitude" as const : linear === "linear_in" ? "a" as const : "b" as const }
}

/** No model has more layers or experts; an axis of a hostile tensor may have any extent. */
const MOST = 10_000

/** Whether any chunk has elements at a position of the leading axes: of a stack of layers, those without an adapter have none. */
const held = (tensor: SpaceTensor): ((at: ReadonlyArray<number>) => boolean) => {
  if (!isIn("items")(tensor)) return () => true
  const { chunks } = tensor.place.stored
  const boxes = chunks.filter(({ sizes }) => volume(sizes) > 0)
  const first = new Map<number, Array<(typeof boxes)[number]>>()
  for (const box of boxes) {
    const [start, count] = [box.offsets[0] ?? 0, Math.min(box.sizes[0] ?? 1, MOST)]
    for (let i = start; i < start + count; i++) {
      const own = first.get(i)
      if (own) own.push(box)
      else first.set(i, [box])
    }
  }
  return (at) => (first.get(at[0] ?? 0) ?? []).some(({ offsets, sizes }) => at.every((x, axis) => x >= offsets[axis]! && x < offsets[axis]! + sizes[axis]!))
}

const positions = (lead: Shape): ReadonlyArray<ReadonlyArray<number>> =>
  lead.reduce<ReadonlyArray<ReadonlyArray<number>>>((all, extent) => all.flatMap((at) => Array.from({ length: Math.min(extent, MOST) }, (_, i) => [...at, i])), [[]])

const pieceAt = (tensor: SpaceTensor, at: ReadonlyArray<number>): MatrixPlace => ({
  tensor,
  box: { offsets: [...at, 0, 0], sizes: [...at.map(() => 1), ...tensor.shape.slice(-2)] }
})

/** Routed experts, whose matrices may lie in one tensor. */
const EXPERTS = /\.experts\./

/** Pairs of a Megatron checkpoint: keys of all layers are taken apart, layer by layer. */
export const megatronPairs = (tensors: Iterable<SpaceTensor>): FoundPairs => {
  const { sides, unpaired } = collect(Iterator.from(tensors).filter(({ name }) => isAdapterKey(name)), keyPartsOf)
  const pairs: Array<FoundPair> = []
  for (const [id, own] of sides) {
    const [module, slot] = id.split("\u0000") as [string, string | undefined]
    const { a, b } = own
    const rank = a?.shape.at(-2)
    if (!a || b.length === 0 || rank === undefined || b.some(({ shape }) => shape.at(-1) !== rank || shape.length < 2)) {
      unpaired.push(...namesIn(own))
      continue
    }
    const { stack, index } = layerOf(`${module}.`) ?? {}
    const isStacked = stack !== undefined && index === undefined
    // Behind the axis of layers, or of another list, is that of the experts, which a matrix for all of them does not have.
    const outer = EXPERTS.test(module) ? (isStacked ? 1 : 0) : a.shape.length - 2
    const [aLead, bLead] = [a, b[0]!].map(({ shape }): Shape => shape.slice(outer, -2)) as [Shape, Shape]
    const holds = held(a)
    for (const at of positions(a.shape.slice(0, outer))) {
      const places = positions(aLead).map((expert) => [...at, ...expert])
      if (!places.every((place) => holds(place))) continue
      const path = isStacked ? `${stack}.${at[0]}${module.slice(stack.length)}` : module + at.map((i) => `[${i}]`).join("")
      pairs.push({
        module: path,
        ...(slot === undefined ? {} : { slot }),
        ...layered(path),
        rank,
        inputs: a.shape.at(-1)!,
        outputs: b.reduce((sum, { shape }) => sum + shape.at(-2)!, 0),
        ...(aLead.length + bLead.length > 0 ? { experts: volume(aLead.length > bLead.length ? aLead : bLead) } : {}),
        packed: false,
        magnitude: own.magnitude !== undefined,
        a: places.map((place) => pieceAt(a, place)),
        b: positions(bLead).map((expert) => b.map((tensor) => pieceAt(tensor, [...at, ...expert])))
      })
    }
  }
  return { pairs, unpaired }
}
