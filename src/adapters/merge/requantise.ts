/**
 * Quantised tensors of a base that adapters change, as codes and scales again, in the base's own files: values are read from codes, changed,
 * and rounded to codes. A first reading of what changes finds the scales, a second one gives the codes.
 */
import { Effect, Stream } from "effect"
import { atPath } from "../../document/decode.ts"
import { adjusted, stream, type TargetArray } from "../../engine/index.ts"
import { Unsupported } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import type { QuantizedTensor } from "../../quantized/QuantizedTensor.ts"
import { Requantizer, whyNotRequantizable } from "../../quantized/Requantizer.ts"
import type { HfWeights } from "../../space/HfWeights.ts"
import { volume } from "../../tensor/Copy.ts"
import { adjustment } from "./adjustment.ts"
import type { ChangedTensor, Changing } from "./changes.ts"
import { arraysOf } from "./merging.ts"
import type { Requantised } from "./Report.ts"

/** A tensor that is rounded to codes again. */
interface Recoded {
  readonly quantized: QuantizedTensor
  readonly adjust: (bytes: Uint8Array, first: number) => void
  requantizer: Requantizer | undefined
}

/** What becomes of the stored tensors of a base. */
export interface Requantising {
  readonly summary: ReadonlyArray<Requantised>
  /** Bytes of values that the first reading goes through. */
  readonly bytes: number
  /** Stored tensors that change: codes and scales. */
  readonly has: (stored: string) => boolean
  readonly changed: (array: TargetArray) => TargetArray
  /** The first reading: nothing can be written before it. InvalidFile `quantized/not-finite`. */
  readonly findScales: ReturnType<typeof scalesOf>
}

const refuse = (what: string, why: string): never => {
  throw new Unsupported({
    code: "unsupported/quantised",
    what,
    problem: `cannot be quantised again: ${why}`,
    hint: "Merge to --megatron-path, which has values, and export that; or serve the adapter beside the quantised base."
  })
}

const scalesOf = Effect.fnUntraced(function*({ config, stored, weights }: Base, recoded: ReadonlyArray<Recoded>) {
  const [values, asStored] = [arraysOf(weights), arraysOf(stored)]
  for (const own of recoded) {
    const { adjust, quantized } = own
    const { name } = quantized.layout.scales.tensor
    const scales: Array<Uint8Array> = []
    yield* stream([asStored(name)]).pipe(Stream.runForEach(({ bytes }) => Effect.sync(() => void scales.push(bytes))))
    const requantizer = own.requantizer = new Requantizer({ quantized, scales: { dtype: stored.tensors.get(name)!.dtype, bytes: Buffer.concat(scales) } })
    yield* stream([values(quantized.name)], { lend: true }).pipe(Stream.runForEach(({ bytes, offset }) => Effect.sync(() => {
      const after = Uint8Array.from(bytes)
      adjust(after, offset / 2)
      requantizer.observe(bytes, after, offset / 2)
    })))
    yield* converting(() => atPath(config.directory, () => requantizer.decide()))
  }
})

interface Base {
  readonly config: { readonly directory: string }
  readonly stored: HfWeights["stored"]
  readonly weights: HfWeights
}

/** `changes`: of the base's tensors, quantised ones among them. Unsupported `unsupported/quantised` for a form that has no way back. */
export const requantising = (base: Base, changes: ReadonlyMap<string, ChangedTensor>, { arithmetic, rowFactorsOf }: Changing): Requantising => {
  const { stored, weights: { quantized } } = base
  const byMember = new Map<string, Recoded>()
  const recoded: Array<Recoded> = []
  for (const [name, { matrices, rounding }] of changes) {
    const own = quantized.get(name)
    if (!own) continue
    const why = whyNotRequantizable(own, stored.tensors.get(own.layout.scales.tensor.name)!.dtype)
    if (why !== undefined) refuse(`${name} (${own.form})`, why)
    const made: Recoded = { quantized: own, adjust: adjustment({ arithmetic, dtype: "BF16", rounding, rowFactorsOf }, matrices), requantizer: undefined }
    recoded.push(made)
    for (const member of own.members) byMember.set(member, made)
  }
  return {
    summary: [...Map.groupBy(recoded, (own) => own.quantized.form)].map(([form, own]) => ({ form, tensors: own.length })),
    bytes: recoded.reduce((sum, own) => sum + 2 * volume(own.quantized.shape), 0),
    has: (name) => byMember.has(name),
    findScales: scalesOf(base, recoded),
    changed: (array) => {
      const own = byMember.get(array.id)!
      const requantizer = (): Requantizer => own.requantizer!
      const isCodes = own.quantized.layout.codes.tensor.name === array.id
      return adjusted(array, {
        bytes: isCodes
          ? (codes, first) => {
            const after = requantizer().values(codes, first)
            own.adjust(after, first)
            requantizer().encode(after, codes, first)
          }
          : (bytes, first) => {
            const { scales } = requantizer()
            const width = scales.byteLength / volume(array.shape)
            bytes.set(scales.subarray(first * width, first * width + bytes.byteLength))
          }
      })
    }
  }
}
