/** A directory of `peft` for a base model: random targets, ranks and values, with shared or separate A's. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { factorsOf, type HfMatrix, isLinearWeight } from "../../src/adapters/factors.ts"
import type { BoundParameter } from "../../src/bridge/Conversion.ts"
import { type InputAxis, parameterPrefixes, peftPair, PREFIX, targetOf } from "../../src/adapters/peftPair.ts"
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, peftConfigBytes } from "../../src/adapters/peftConfig.ts"
import { encodeHeader, inLibraryOrder } from "../../src/safetensors/encodeHeader.ts"
import { withoutExpert } from "../../src/adapters/sharedMatrix.ts"
import type { Shape } from "../../src/tensor/Copy.ts"
import { random } from "../tensor/random.ts"

export interface Made {
  readonly rank: number
  readonly targets: ReadonlyArray<string>
}

/** Matrices that are parts of one weight, each HF tensor once. */
export const groupsOf = (parameters: ReadonlyArray<BoundParameter>): ReadonlyArray<ReadonlyArray<HfMatrix>> => {
  const seen = new Set<string>()
  return parameters.filter(isLinearWeight).flatMap((bound) => {
    const own = factorsOf(bound).map(({ matrix }) => matrix).filter(({ tensor }) => !seen.has(tensor) && seen.add(tensor))
    return own.length === 0 ? [] : [own]
  })
}

/** BF16 values of a moderate size, a few of them zero. */
const values = (count: number, next: (n: number) => number): Uint8Array => {
  const out = new Uint16Array(count)
  for (let i = 0; i < count; i++) out[i] = next(16) === 0 ? 0 : (next(2) << 15) | ((120 + next(8)) << 7) | next(128)
  return new Uint8Array(out.buffer)
}

export interface Wanted {
  readonly seed: number
  readonly rank: number
  /** q, k and v, and gate and up, have one A: so the reference exports them. */
  readonly sharedInput: boolean
  readonly dora?: boolean
  /** How many of ten modules have an adapter. */
  readonly share?: number
  /** Of the matrices of one weight (q, k, v; gate, up) some have an adapter and others have none. */
  readonly partial?: boolean
  /** Experts share A of gate and up, and B of down, as SGLang's form has it. */
  readonly sharedOuter?: boolean
}

/** Write one; `groups` are matrices that are parts of one Megatron weight. */
export const writeRandomAdapter = (directory: string, groups: ReadonlyArray<ReadonlyArray<HfMatrix>>, axisOf: (tensor: string) => InputAxis, { dora = false, partial = false, rank, seed, share = 10, sharedInput, sharedOuter = false }: Wanted): Made => {
  const next = random(seed)
  // Experts of one layer have all an adapter, or none.
  const layers = Map.groupBy(groups, ([first]) => first!.tensor.replace(/(?<=experts\.)\d+\./, ""))
  const someOf = (group: ReadonlyArray<HfMatrix>) => {
    const own = partial ? group.filter(() => next(2) === 0) : group
    return own.length > 0 ? own : group
  }
  const chosen = [...layers.values()].flatMap((own) => next(10) < share ? own.map(someOf) : [])
  const parameters = chosen.flat().map(targetOf).filter(({ kind }) => kind === "parameter").map(({ path }) => path)
  const prefixes = parameterPrefixes(new Set(parameters))
  const tensors = new Map<string, { name: string; dtype: "BF16"; shape: Shape; bytes: Uint8Array }>()
  const add = (name: string, shape: Shape, bytes: Uint8Array, isShared = false): void => {
    if (isShared && withoutExpert(name) !== name) {
      const own = withoutExpert(name)
      if (!tensors.has(own)) tensors.set(own, { name: own, dtype: "BF16", shape: [1, ...shape], bytes })
    } else tensors.set(name, { name, dtype: "BF16", shape, bytes })
  }
  const targets: Array<string> = []
  for (const group of chosen) {
    let common: Uint8Array | undefined
    for (const matrix of group) {
      const { kind, path } = targetOf(matrix)
      const pair = peftPair(matrix, kind === "module" ? PREFIX + path : prefixes.get(path)!, rank, axisOf(matrix.tensor))
      const size = (shape: Shape) => shape.reduce((a, b) => a * b, 1)
      const own = values(size(pair.input.shape), next)
      add(pair.input.tensor, pair.input.shape, sharedInput && kind === "module" ? common ??= own : own, sharedOuter && group.length > 1)
      add(pair.output.tensor, pair.output.shape, values(size(pair.output.shape), next), sharedOuter && group.length === 1)
      if (dora && pair.magnitude) add(pair.magnitude.tensor, pair.magnitude.shape, values(size(pair.magnitude.shape), next))
      targets.push(path)
    }
  }
  mkdirSync(directory, { recursive: true })
  const ordered = inLibraryOrder(tensors.values())
  writeFileSync(join(directory, ADAPTER_WEIGHTS), Buffer.concat([encodeHeader(ordered, new Map([["format", "pt"]])).headerBytes, ...ordered.map(({ bytes }) => bytes)]))
  writeFileSync(join(directory, ADAPTER_CONFIG), peftConfigBytes({
    rank, alpha: 2 * rank, dropout: parameters.length > 0 ? 0 : 0.05, dora, rankStabilised: false, targetModules: targets.filter((t) => !parameters.includes(t)),
    targetParameters: [...new Set(parameters)], rankPattern: new Map(), alphaPattern: new Map(), base: "base"
  }))
  return { rank, targets }
}
