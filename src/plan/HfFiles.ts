/**
 * From HF tensors to safetensors files. Where the original model's shards are known, they are kept: same file names, same
 * order, same header bytes if a shard's table did not change. Pure.
 */
import type { TargetFile } from "../engine/index.ts"
import { encodeHeader, inLibraryOrder } from "../safetensors/encodeHeader.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { INDEX_NAME, SINGLE_NAME } from "../safetensors/locate.ts"
import { encodeIndex } from "../safetensors/ShardIndex.ts"
import { folderOf } from "../space/Assembly.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import { sameShape } from "../tensor/Copy.ts"
import { bytesOfTensors } from "./accounting.ts"
import { exportArray, type ExportPlan, type ExportTensor } from "./ExportDraft.ts"

/** Bytes of tensors per shard where no original decides. */
const SHARD_BYTES = 5_000_000_000

export interface HfFiles {
  readonly files: ReadonlyArray<TargetFile>
  /** Names and bytes of the indices: one of the model, or of each of its parts; none for a single unsharded file. */
  readonly indices: ReadonlyArray<IndexFile>
}

interface IndexFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** A tensor by the name that it has in its file. */
interface FiledTensor extends ExportTensor {
  /** The same in the model. */
  readonly of: ExportTensor
}
type Filed = ReadonlyMap<string, FiledTensor>

interface ShardPlan {
  readonly name: string
  readonly tensors: ReadonlyArray<FiledTensor>
  readonly headerBytes: Uint8Array
}

/** The original's shards, with what the export has of them; tensors it does not know go to its last one. */
const asOriginal = ({ original: logical }: ExportPlan, tensors: Filed, prefix: string, original: HfTensors): ReadonlyArray<ShardPlan> => {
  // A tensor that was quantised stands where its codes were.
  const at = (name: string) => tensors.get(name) ?? tensors.get(logical?.logicalOf.get(prefix + name)?.slice(prefix.length) ?? name)
  const unknown = [...tensors.values()].filter((t) => !original.tensors.has(t.name) && !logical?.quantized.has(prefix + t.name))
  return original.shards.map((shard, i): ShardPlan => {
    const own = [
      ...shard.tensors.flatMap((t) => at(t.name) ?? []),
      ...(i === original.shards.length - 1 ? unknown : [])
    ]
    const unchanged = !shard.overlaid && own.length === shard.tensors.length &&
      own.every((t, k) => t.name === shard.tensors[k]!.name && t.dtype === shard.tensors[k]!.dtype && sameShape(t.shape, shard.tensors[k]!.shape))
    return { name: shard.file, tensors: own, headerBytes: unchanged ? shard.headerBytes : encodeHeader(own, shard.metadata).headerBytes }
  }).filter((shard) => shard.tensors.length > 0)
}

/** transformers' own convention: shards of a few GB, in the order of the model. */
const byDefault = (tensors: Filed): ReadonlyArray<ShardPlan> => {
  const groups: Array<Array<FiledTensor>> = [[]]
  let size = 0
  for (const tensor of tensors.values()) {
    const bytes = bytesOfTensors([tensor])
    if (size > 0 && size + bytes > SHARD_BYTES) {
      groups.push([])
      size = 0
    }
    groups.at(-1)!.push(tensor)
    size += bytes
  }
  const number = (n: number) => String(n).padStart(5, "0")
  return groups.map((group, i) => {
    const own = inLibraryOrder(group)
    return {
      name: groups.length === 1 ? SINGLE_NAME : `model-${number(i + 1)}-of-${number(groups.length)}.safetensors`,
      tensors: own,
      headerBytes: encodeHeader(own, new Map([["format", "pt"]])).headerBytes
    }
  })
}

const indexOf = (shards: ReadonlyArray<ShardPlan>, total: number, original: HfTensors | undefined): IndexFile | undefined => {
  const source = original?.index
  const listed = shards.reduce((sum, s) => sum + s.tensors.length, 0)
  const same = source && original.indexBytes && source.metadata.get("total_size") === total && source.weightMap.size === listed &&
    shards.every((s) => s.tensors.every((t) => source.weightMap.get(t.name) === s.name))
  if (same) return { name: original.indexFile!, bytes: original.indexBytes! }
  if (!source && shards.length === 1) return undefined
  return {
    name: original?.indexFile ?? INDEX_NAME,
    bytes: encodeIndex({
      metadata: new Map([...(source?.metadata ?? []), ["total_size", total]]),
      weightMap: new Map(shards.flatMap((s) => s.tensors.map((t) => [t.name, s.name] as const)))
    })
  }
}

/** Files with the tensors of which the names begin with `prefix`, without it, in `folder`. */
const filesBelow = (plan: ExportPlan, original: HfTensors | undefined, prefix: string, folder: string): HfFiles => {
  const tensors: Filed = new Map(Iterator.from(plan.tensors.values()).filter(({ name }) => name.startsWith(prefix)).map((of) => {
    const name = of.name.slice(prefix.length)
    return [name, { ...of, name, of }]
  }))
  const shards = original ? asOriginal(plan, tensors, prefix, original) : byDefault(tensors)
  const index = indexOf(shards, bytesOfTensors(tensors.values()), original)
  return {
    files: shards.map(({ headerBytes, name, tensors }) => ({
      name: folder + name,
      size: headerBytes.byteLength + bytesOfTensors(tensors),
      segments: [
        { kind: "bytes", bytes: headerBytes },
        ...tensors.map((t) => ({ kind: "array" as const, array: exportArray(plan, t.of), crc: false }))
      ]
    })),
    indices: index ? [{ ...index, name: folder + index.name }] : []
  }
}

/** `weights`: the original's. Of a model of several checkpoints, each part has a folder of its own. */
export const hfFiles = (plan: ExportPlan, weights: StoredWeights | undefined): HfFiles => {
  const parts = weights?.parts?.map(({ part, weights: { safetensors } }) => filesBelow(plan, part.section ? undefined : safetensors, part.hf, `${folderOf(part)}/`))
  return parts
    ? { files: parts.flatMap(({ files }) => files), indices: parts.flatMap(({ indices }) => indices) }
    : filesBelow(plan, weights?.safetensors, "", "")
}
