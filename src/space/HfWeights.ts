/**
 * The weights of a Hugging Face directory as a space in which nothing is quantised: every quantised tensor is one BF16 tensor of its own
 * shape under its own name, in the place of its codes; its scales are not seen.
 */
import type { SourceArray } from "../engine/index.ts"
import { FormatError } from "../errors.ts"
import { ACTIVATION_SCALES, forms, ownersOfScales } from "../quantized/forms.ts"
import { type BlockSize, quantizationConfig } from "../quantized/QuantizationConfig.ts"
import type { QuantizedTensor, StoredCodes } from "../quantized/QuantizedTensor.ts"
import { storedArray, type StoredWeights } from "./StoredWeights.ts"
import type { CodesPlace, FilePlace, SpaceTensor, TensorSpace } from "./TensorSpace.ts"

export interface HfWeights extends TensorSpace<FilePlace> {
  /** The tensors as they are in the files. */
  readonly stored: StoredWeights
  readonly quantized: ReadonlyMap<string, QuantizedTensor>
  /** The tensor whose codes a stored tensor holds. */
  readonly logicalOf: ReadonlyMap<string, string>
  /** Activation scales: tensors like any other, and the weight that each stands beside. */
  readonly activationScales: ReadonlyMap<string, string>
}

const codesArray = (weights: StoredWeights, { name, packed }: StoredCodes): SourceArray => {
  const stored = storedArray(weights, name)
  return packed ? { ...stored, dtype: "F4", shape: [weights.tensors.get(name)!.bytes * 2] } : stored
}

const codesPlace = (weights: StoredWeights, { form, layout: { codes, scales, ...layout } }: QuantizedTensor): CodesPlace => ({
  kind: "codes",
  form,
  layout: { ...layout, codes: { ...codes, tensor: codesArray(weights, codes.tensor) }, scales: { ...scales, tensor: codesArray(weights, scales.tensor) } }
})

/** The quantised tensors by the name of their codes, and every tensor that belongs to one. */
const detect = ({ tensors }: StoredWeights, blockSize: BlockSize) => {
  const headers = { get: (name: string) => tensors.get(name), blockSize }
  const byCodes = new Map<string, QuantizedTensor>()
  const owners = new Map<string, string>()
  for (const stored of tensors.values()) {
    for (const form of forms) {
      const found = form(stored, headers)
      if (found === undefined) continue
      byCodes.set(stored.name, found)
      for (const member of found.members) owners.set(member, stored.name)
      break
    }
  }
  for (const stored of tensors.values()) {
    const names = owners.has(stored.name) ? [] : ownersOfScales(stored)
    if (names.length === 0) continue
    const held = names.flatMap((name) => tensors.get(name) ?? [])
    throw new FormatError(
      "quantized/stray-scales",
      held.length > 0 ? `stands beside ${held[0]!.name}, which holds ${held[0]!.dtype} values and needs no scales` : `there is no ${names.join(" or ")} that these scales belong to`,
      { tensor: stored.name }
    )
  }
  for (const { members, name } of byCodes.values()) {
    if (tensors.has(name) && name !== members[0]) {
      throw new FormatError("quantized/twice", `is there quantised (${members[0]}) and as values`, { tensor: name })
    }
  }
  return { byCodes, owners }
}

/** FormatError `quantized/…` where codes and scales contradict each other; `config` is the parsed config.json, if there is one. */
export const hfWeightsOf = (weights: StoredWeights, config?: unknown): HfWeights => {
  const { blockSize, staticActivations } = quantizationConfig(config)
  const { byCodes, owners } = detect(weights, blockSize)
  const tensors = new Map<string, SpaceTensor<FilePlace>>()
  for (const stored of weights.tensors.values()) {
    const own = byCodes.get(stored.name)
    if (own) {
      // It takes the room of all that it is made of.
      const bytes = own.members.reduce((sum, name) => sum + weights.tensors.get(name)!.bytes, 0)
      tensors.set(own.name, { name: own.name, dtype: "BF16", shape: own.shape, bytes, role: "model", place: codesPlace(weights, own) })
    } else if (!owners.has(stored.name)) tensors.set(stored.name, stored)
  }
  const quantized = new Map([...byCodes.values()].map((q) => [q.name, q]))
  return {
    stored: weights,
    tensors,
    quantized,
    logicalOf: new Map([...byCodes].map(([codes, { name }]) => [codes, name])),
    activationScales: activationScalesOf(quantized.keys(), tensors, staticActivations)
  }
}

/** Activation scales and the weights that they stand beside; with `required`, every weight has those that others have. */
const activationScalesOf = (weights: Iterable<string>, tensors: ReadonlyMap<string, unknown>, required: boolean): ReadonlyMap<string, string> => {
  const modules = Array.from(weights).filter((name) => name.endsWith(".weight")).map((name) => name.slice(0, -".weight".length))
  const found = new Map<string, string>()
  for (const suffix of ACTIVATION_SCALES) {
    const own = modules.filter((module) => tensors.has(`${module}.${suffix}`))
    for (const module of own) found.set(`${module}.${suffix}`, `${module}.weight`)
    if (!required || own.length === 0 || own.length === modules.length) continue
    const missing = modules.find((module) => !tensors.has(`${module}.${suffix}`))!
    throw new FormatError("quantized/no-activation-scale", `is missing; ${own[0]} has one, and activations are quantised statically`, { tensor: `${missing}.${suffix}` })
  }
  return found
}
