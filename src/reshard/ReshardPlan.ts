/** From contents and objects under a layout to files: what is cut, what is taken over item by item, which files stay. Pure. */
import { type BytesSegment, bytesSegment, type ItemPlace } from "../checkpoint/ItemFile.ts"
import type { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { byKey, type Chunk, rankFileName } from "../checkpoint/Placement.ts"
import type { StoredArrays } from "../checkpoint/StoredArrays.ts"
import type { StageOf } from "../checkpoint/stageOf.ts"
import type { ChangedTensors } from "../convert/ValueChanges.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import type { ItemsPlace, SpaceTensor } from "../space/TensorSpace.ts"
import type { Box } from "../tensor/Copy.ts"
import type { DcpMetadata, StoredChunk, StoredObject } from "../torch/DcpMetadata.ts"
import type { Content } from "./Contents.ts"
import { type PlannedFiles, type PlannedItem, plannedFiles } from "./itemFiles.ts"
import type { KeyFacts, Position } from "./keyFacts.ts"
import { placed } from "./placing.ts"

/** A component and the layout it gets. */
export interface ComponentPlan {
  readonly parallelism: ModuleParallelism
  readonly stageOf: StageOf<Position>
  /** It is cut as it was: its items stay where they are. */
  readonly unchanged: boolean
}

/** An object of the result: an item of the source, or new content; where it goes, unless it stays. */
export interface PlannedObject {
  readonly key: string
  readonly stored?: StoredObject
  readonly bytes?: Uint8Array
  readonly rank: number
  readonly stays: boolean
}

export interface ReshardContents {
  readonly contents: ReadonlyArray<Content>
  readonly objects: ReadonlyArray<PlannedObject>
}

export interface ReshardPlan extends PlannedFiles {
  readonly metadata: DcpMetadata
  /** Chunks that are cut anew. */
  readonly recut: number
}

const staysWhereItIs = ({ component, stored }: Content, components: ReadonlyMap<string, ComponentPlan>): boolean =>
  stored !== undefined && components.get(component)!.unchanged

interface OpenTensor {
  readonly content: Content
  readonly chunks: Array<StoredChunk>
}

/** The stored chunk that is exactly this box. */
const chunkAt = ({ stored }: Content, { offsets, sizes }: Box, known: Map<SpaceTensor<ItemsPlace>, ReadonlyMap<string, StoredChunk>>): StoredChunk | undefined => {
  if (!stored) return undefined
  let chunks = known.get(stored)
  if (!chunks) known.set(stored, chunks = new Map(stored.place.stored.chunks.map((chunk) => [`${chunk.offsets}/${chunk.sizes}`, chunk])))
  return chunks.get(`${offsets}/${sizes}`)
}

/** What is placed, before headers are read. */
export interface PlacedContents {
  readonly stay: ReadonlyArray<Content>
  readonly chunks: ReadonlyArray<{ readonly file: string; readonly chunk: Pick<Chunk<Content>, "of" | "stored">; readonly whole: StoredChunk | undefined }>
  readonly changed: ChangedTensors | undefined
}

const isChanged = ({ stored }: Content, changed: ChangedTensors | undefined): boolean => stored !== undefined && changed?.has(stored.place.stored) === true

/** Cut and place; the chunks that must be read are added to `selection`. */
export const placedContents = (
  contents: ReadonlyArray<Content>,
  facts: KeyFacts,
  components: ReadonlyMap<string, ComponentPlan>,
  { changed, selection }: { readonly selection: ChunkSelection; readonly changed: ChangedTensors | undefined }
): PlacedContents => {
  const [stay, move]: [Array<Content>, Array<Content>] = [[], []]
  for (const content of contents) (staysWhereItIs(content, components) ? stay : move).push(content)
  const known = new Map<SpaceTensor<ItemsPlace>, ReadonlyMap<string, StoredChunk>>()
  const read = new Set(stay.filter((content) => isChanged(content, changed)))
  const chunks = placed(move, facts, components).flatMap(({ chunks: own, number, rank }) =>
    [...byKey(own).values()].flat().map((chunk) => {
      const whole = isChanged(chunk.of, changed) ? undefined : chunkAt(chunk.of, chunk.stored, known)
      if (!whole) read.add(chunk.of)
      return { file: rankFileName({ rank, number }), chunk, whole }
    }))
  for (const { reads } of read) for (const { name, place } of reads) selection.add(name, place.stored)
  return { stay, chunks, changed }
}

/** `arrays`: the chosen chunks, their headers read. */
export const planReshard = (
  { changed, chunks, stay }: PlacedContents,
  { contents, objects }: ReshardContents,
  arrays: StoredArrays,
  source: { readonly metadata: DcpMetadata; readonly pathOf: (file: string) => string }
): ReshardPlan => {
  const tensors = new Map<string, OpenTensor>(contents.map((content) => [content.key, { content, chunks: [] }]))
  const stored = new Map<string, StoredObject>()
  const items: Array<PlannedItem> = objects.map((object) => ({ ...objectItem(object), key: object.key, settle: (place: ItemPlace) => stored.set(object.key, place) }))
  const made = (of: Content, box: Box): PlannedItem["from"] => {
    const array = { id: of.key, dtype: of.dtype, shape: box.sizes, copies: () => of.copies(arrays, box, of.key) }
    return { array: isChanged(of, changed) ? changed!.changed(array, of.stored!.place.stored, box) : array, sizes: box.sizes }
  }
  for (const content of stay) {
    const { key, stored: tensor } = content
    const open = tensors.get(key)!.chunks
    for (const { file, length, offset, offsets, sizes } of tensor!.place.stored.chunks) {
      const from = isChanged(content, changed) ? made(content, { offsets, sizes }) : { stored: { file, offset, length } }
      items.push({ key, file, isTensor: true, from, settle: (place) => open.push({ offsets, sizes, ...place }) })
    }
  }
  let recut = 0
  for (const { chunk: { of, stored: box }, file, whole } of chunks) {
    const open = tensors.get(of.key)!.chunks
    if (!whole) recut++
    items.push({
      key: of.key,
      file,
      isTensor: true,
      from: whole ? { stored: { file: whole.file, offset: whole.offset, length: whole.length } } : made(of, box),
      settle: (place) => open.push({ offsets: box.offsets, sizes: box.sizes, ...place })
    })
  }
  const files = plannedFiles(items, source.metadata, source.pathOf)
  return {
    ...files,
    recut,
    metadata: {
      className: "torch.distributed.checkpoint.metadata.Metadata",
      tensors: new Map([...tensors].map(([key, { chunks: own, content: { dtype, shape } }]) => [key, { dtype, shape, chunks: own }])),
      // In the order of the source, file by file or not: the way back then ends in the same bytes.
      objects: new Map([...new Set([...source.metadata.objects.keys(), ...stored.keys()])].flatMap((key) => (stored.has(key) ? [[key, stored.get(key)!] as const] : [])))
    }
  }
}

const objectItem = ({ bytes, rank, stays, stored }: PlannedObject): Pick<PlannedItem, "file" | "isTensor" | "from"> => {
  const from = bytes ? { bytes: segmentOf(bytes) } : { stored: stored! }
  return { file: stays && stored ? stored.file : rankFileName({ rank, number: 0 }), isTensor: false, from }
}

const segmentOf = (bytes: Uint8Array): BytesSegment => bytesSegment(bytes)
