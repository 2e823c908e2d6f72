/**
 * An export, planned. A draft knows every tensor and what it is made of; where the bytes of stored tensors lie is known once the headers
 * of their items are read, and then there is a plan, whose tensors can be assembled.
 */
import type { ConfigField, ZeroFilled } from "../bridge/Family.ts"
import type { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks, type StoredArrays, type StoredParameter } from "../checkpoint/StoredArrays.ts"
import type { SourceArray, SourceCopy, TargetArray } from "../engine/index.ts"
import type { Store } from "../store/Store.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { type FilePlace, type ItemsPlace, type SpaceTensor, wholeTensor } from "../space/TensorSpace.ts"
import { identity, type Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { inverse } from "../tensor/Transform.ts"
import type { StoredChunk } from "../torch/DcpMetadata.ts"
import type { TensorOrigin } from "./located.ts"
import type { ConversionReport } from "./Report.ts"
import type { VocabularyCut } from "./vocabulary.ts"

/** The values of a tensor before arithmetic rounded them on their way into the checkpoint. */
export type Unrounded =
  | { readonly kind: "carried"; readonly chunk: StoredChunk }
  | { readonly kind: "original"; readonly array: SourceArray }

/** What an HF tensor is made of. */
export type TensorSource =
  /** Parameters of the checkpoint's model. */
  | { readonly kind: "model"; readonly origin: TensorOrigin; readonly unrounded: Unrounded | undefined }
  /** The bytes of an HF tensor that travelled beside the model. */
  | { readonly kind: "carried"; readonly tensor: SpaceTensor<ItemsPlace> }
  /** The values of a tensor of another HF model: --hf-model or --mtp-from. */
  | { readonly kind: "values"; readonly tensor: SpaceTensor<FilePlace> }
  /** A tensor of --hf-model as it is stored, codes and scales included. */
  | { readonly kind: "stored"; readonly array: SourceArray }
  /** What another tensor of the export is made of. */
  | { readonly kind: "repeated"; readonly tensor: ExportTensor }

/** An HF tensor to be written. */
export interface ExportTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly from: TensorSource
}

export interface OwnHead {
  readonly name: string
  /** The embedding, which config.json says it is. */
  readonly of: string
  /** --hf-model stores a head as well: if it is the embedding, its flags have been true. */
  readonly stored: boolean
  /** What config.json must say of it. */
  readonly fields: ReadonlyArray<ConfigField>
}

/** A parameter that HF has no tensor for, as it is stored under its key, and the value that an import filled it with. */
export interface ConstantParameter extends Omit<TargetArray, "copies"> {
  readonly parameter: StoredParameter
  readonly value: number
}

/** Rows of the parameter `id`, and those of it that they repeat. */
export interface RepeatedRows {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly rows: StoredParameter
  readonly first: StoredParameter
}

/** All but the bytes. */
interface DraftedExport {
  /** In the order of the model. */
  readonly tensors: ReadonlyMap<string, ExportTensor>
  /** The tensors of --hf-model, as if none were quantised. */
  readonly original: HfWeights | undefined
  /** What config.json says otherwise of this export, e.g. that there are no MTP layers. */
  readonly configFields: ReadonlyArray<ConfigField>
  /** Stored tables of the vocabulary that have more rows than the export. */
  readonly cuts: ReadonlyArray<VocabularyCut>
  /** Parameters that are left out, for HF has none: they must still hold what an import filled them with. */
  readonly constants: ReadonlyArray<ConstantParameter>
  /** Stored rows that repeat others: they must still be alike. */
  readonly repeats: ReadonlyArray<RepeatedRows>
  /** Parameters that HF has no tensor for, and the checkpoint neither. */
  readonly absentConstants: ReadonlyArray<{ readonly id: string; readonly shape: Shape }>
  /** Where there are constants: how config.json can give the HF model such parameters. */
  readonly zeroFilled?: ZeroFilled
  /** The trained model has a head of its own, although config.json says that the embedding serves as both. */
  readonly ownHead?: OwnHead
  readonly report: Omit<ConversionReport, "files">
}

export interface ExportDraft extends DraftedExport {
  /** The stored chunks that its tensors are made of. */
  readonly chunks: ChunkSelection
}

export interface ExportPlan extends DraftedExport {
  readonly stored: StoredArrays
  /** What becomes of a tensor's values on their way. Default: nothing. */
  readonly changed?: (array: TargetArray) => TargetArray
}

/** Read the headers of all items in use. Errors: InvalidFile, IoError. */
export const readExportPlan = async (store: Store, { chunks, ...planned }: ExportDraft): Promise<ExportPlan> =>
  ({ ...planned, stored: await readChunks(store, chunks) })

/** The dtype that holds what a tensor of the model is made of. */
export const storedDtype = ({ from }: ExportTensor): DType | undefined => (from.kind === "model" ? from.origin.stored : undefined)

/** A copy whose transform runs backwards; where the values before it are known, it gives those back. */
const undone = (copy: SourceCopy, unrounded: SourceArray | undefined): SourceCopy => {
  const { transform } = copy
  if (!transform) return copy
  if (transform.kind !== "add") throw new RangeError(`${copy.target.tensor}: ${transform.kind} has no inverse`)
  const backward = inverse(transform)
  if (unrounded === undefined) return { ...copy, transform: backward }
  return { ...copy, transform: { kind: "restore", forward: transform, backward }, operands: [{ ...copy.target, tensor: unrounded }] }
}

const copiesOf = (stored: StoredArrays, { from, name, shape }: ExportTensor): ReadonlyArray<SourceCopy> => {
  switch (from.kind) {
    case "model": {
      const { origin, unrounded } = from
      const before = unrounded?.kind === "carried" ? stored.array(unrounded.chunk) : unrounded?.array
      return origin.parameters.flatMap((parameter) => stored.toHf(parameter, name)).map((copy) => undone(copy, before))
    }
    case "carried": return stored.whole(from.tensor.place.stored, name)
    case "values": return wholeTensor(from.tensor, name)
    case "stored": return [identity(from.array, name, shape)]
    case "repeated": return copiesOf(stored, from.tensor)
  }
}

/** One HF tensor as an array. */
export const exportArray = ({ changed = (array) => array, stored }: Pick<ExportPlan, "stored" | "changed">, tensor: ExportTensor): TargetArray =>
  changed({ id: tensor.name, dtype: tensor.dtype, shape: tensor.shape, copies: () => copiesOf(stored, tensor) })
