/** The common state of a checkpoint with entries changed: in `common.pt`, in the stored object, or in both, wherever it is. */
import { join } from "node:path"
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import { rewriteArchive } from "../torch/ArchiveEdit.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"
import { PickleDict, PickleList } from "../torch/PickleValue.ts"
import { LARGEST_COMMON } from "./CommonState.ts"
import { COMMON_FILE, COMMON_STATE } from "./names.ts"
import { readItem } from "./readItem.ts"
import { readOwn } from "./ownFile.ts"

export interface NewCommonState {
  /** `common.pt`, where there is one and it changes. */
  readonly file?: Uint8Array
  /** The item of the object {@link COMMON_STATE}, where there is one and it changes. */
  readonly item?: Uint8Array
}

/** A change of the dict that the common state is. */
export type CommonChange = (common: PickleDict) => PickleDict

const changed = (archive: Uint8Array, change: CommonChange): Uint8Array =>
  rewriteArchive(archive, (value) => {
    // An object's item holds the list of the local shards of its key: one.
    if (value instanceof PickleList && value.items.length === 1 && value.items[0] instanceof PickleDict) {
      const [old] = value.items
      const own = change(old)
      if (own === old) return value
      const list = new PickleList()
      list.push(own)
      return list
    }
    if (!(value instanceof PickleDict)) throw new FormatError("checkpoint/common-state", "holds a common state that is not a dict")
    return change(value)
  })

/** Errors: InvalidFile of reading, `checkpoint/common-state`, `checkpoint/common-state-size`; IoError. */
export const editedCommonState = async (store: Store, directory: string, metadata: DcpMetadata, change: CommonChange): Promise<NewCommonState> => {
  const file = await readOwn(store, directory, COMMON_FILE, LARGEST_COMMON).catch((error: unknown) => {
    if (isNotThere(error)) return undefined
    throw error
  })
  const object = metadata.objects.get(COMMON_STATE)
  if (object && object.length > LARGEST_COMMON) {
    throw new FormatError("checkpoint/common-state-size", `the common state has ${object.length} bytes; no more than ${LARGEST_COMMON} are read`)
  }
  const item = object && await readItem(store, directory, object)
  const newFile = file && atPath(join(directory, COMMON_FILE), () => changed(file, change))
  const newItem = item && atPath(join(directory, object.file), () => changed(item, change))
  return {
    ...(newFile === undefined || newFile === file ? {} : { file: newFile }),
    ...(newItem === undefined || newItem === item ? {} : { item: newItem })
  }
}
