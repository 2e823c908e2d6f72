/**
 * A checkpoint as if nothing in it were quantised: every quantised tensor is one BF16 tensor of its own shape under its own name,
 * in the place of its codes; its scales are not seen. Copies from such tensors become copies from codes and scales by `read`.
 */
import type { SourceArray, SourceCopy } from "../engine/Target.ts"
import { FormatError, Unsupported } from "../errors.ts"
import type { HfTensor, HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { type Copy, identity, readFrom } from "../tensor/Copy.ts"
import { fromBlocks } from "./blocks.ts"
import { ACTIVATION_SCALES, forms, ownersOfScales } from "./forms.ts"
import { type BlockSize, quantizationConfig } from "./QuantizationConfig.ts"
import type { QuantizedTensor, StoredCodes } from "./QuantizedTensor.ts"

export interface LogicalTensor extends HfTensor {
  /** The form it is stored in, if that is not plain values. */
  readonly quantized?: string
}

export interface LogicalTensors extends HfTensors {
  readonly tensors: ReadonlyMap<string, LogicalTensor>
  /** As they are in the files. */
  readonly raw: HfTensors
  readonly quantized: ReadonlyMap<string, QuantizedTensor>
  /** The logical tensor whose codes a stored tensor holds. */
  readonly logicalOf: ReadonlyMap<string, string>
  /** Activation scales: tensors like any other, and the weight that each stands beside. */
  readonly activationScales: ReadonlyMap<string, string>
  /** A copy from a logical tensor, as copies from what is in the files. */
  readonly read: (copy: Copy) => ReadonlyArray<SourceCopy>
  /** The copies that give a whole logical tensor, under the name `target`. */
  readonly whole: (name: string, target: string) => ReadonlyArray<SourceCopy>
}

/** The quantised tensors by the name of their codes, and every tensor that belongs to one. */
const detect = (raw: HfTensors, blockSize: BlockSize) => {
  const headers = { get: (name: string) => raw.tensors.get(name), blockSize }
  const byCodes = new Map<string, QuantizedTensor>()
  const owners = new Map<string, string>()
  for (const stored of raw.tensors.values()) {
    for (const form of forms) {
      const found = form(stored, headers)
      if (found === undefined) continue
      byCodes.set(stored.name, found)
      for (const member of found.members) owners.set(member, stored.name)
      break
    }
  }
  for (const stored of raw.tensors.values()) {
    const names = owners.has(stored.name) ? [] : ownersOfScales(stored)
    if (names.length === 0) continue
    const held = names.flatMap((name) => raw.tensors.get(name) ?? [])
    throw new FormatError(
      "quantized/stray-scales",
      held.length > 0 ? `stands beside ${held[0]!.name}, which holds ${held[0]!.dtype} values and needs no scales` : `there is no ${names.join(" or ")} that these scales belong to`,
      { tensor: stored.name }
    )
  }
  for (const { members, name } of byCodes.values()) {
    if (raw.tensors.has(name) && name !== members[0]) {
      throw new FormatError("quantized/twice", `is there quantised (${members[0]}) and as values`, { tensor: name })
    }
  }
  return { byCodes, owners }
}

/** FormatError `quantized/…` where codes and scales contradict each other; `config` is the parsed config.json, if there is one. */
export const logicalTensors = (raw: HfTensors, config?: unknown): LogicalTensors => {
  const { blockSize, staticActivations } = quantizationConfig(config)
  const { byCodes, owners } = detect(raw, blockSize)
  const quantized = new Map([...byCodes.values()].map((q) => [q.name, q]))
  const logical = (tensor: HfTensor): Array<LogicalTensor> => {
    const own = byCodes.get(tensor.name)
    if (own === undefined) return owners.has(tensor.name) ? [] : [tensor]
    // It takes the room of all that it is made of.
    const bytes = own.members.reduce((sum, name) => sum + raw.tensors.get(name)!.end - raw.tensors.get(name)!.begin, 0)
    return [{ ...tensor, name: own.name, dtype: "BF16", shape: own.shape, end: tensor.begin + bytes, quantized: own.form }]
  }
  const shards = byCodes.size === 0 ? raw.shards : raw.shards.map((shard) => ({ ...shard, tensors: shard.tensors.flatMap(logical) }))
  const tensors: ReadonlyMap<string, LogicalTensor> = byCodes.size === 0 ? raw.tensors : new Map(shards.flatMap((shard) => shard.tensors.map((t) => [t.name, t] as const)))
  const activationScales = activationScalesOf(quantized.keys(), tensors, staticActivations)
  const read: LogicalTensors["read"] = (copy) => {
    const own = quantized.get(copy.source.tensor)
    if (own === undefined) return [readFrom(copy, (name) => storedArray(raw, name))]
    // A constant does not depend on what is read.
    if (copy.transform?.kind === "fill") return [readFrom(copy, () => codesArray(raw, own.layout.codes.tensor))]
    if (copy.transform) {
      throw new Unsupported({ code: "unsupported/quantised", what: own.name, problem: `is quantised (${own.form}), and its values would have to be changed once more (${copy.transform.kind})` })
    }
    const { codes, scales, ...layout } = own.layout
    return fromBlocks(copy, { ...layout, codes: { ...codes, tensor: codesArray(raw, codes.tensor) }, scales: { ...scales, tensor: codesArray(raw, scales.tensor) } })
  }
  return {
    ...raw,
    raw,
    shards,
    tensors,
    quantized,
    logicalOf: new Map([...byCodes].map(([codes, { name }]) => [codes, name])),
    activationScales,
    read,
    whole: (name, target) => read(identity(name, target, tensors.get(name)!.shape))
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

/** A tensor as it is in the files. */
export const storedArray = (raw: HfTensors, name: string): SourceArray => {
  const tensor = raw.tensors.get(name)
  if (!tensor) throw new RangeError(`${raw.directory} has no tensor ${name}`)
  return { path: raw.shards[tensor.shard]!.path, offset: tensor.begin, dtype: tensor.dtype, shape: tensor.shape }
}

const codesArray = (raw: HfTensors, { name, packed }: StoredCodes): SourceArray => {
  const stored = storedArray(raw, name)
  const { begin, end } = raw.tensors.get(name)!
  return packed ? { ...stored, dtype: "F4", shape: [(end - begin) * 2] } : stored
}
