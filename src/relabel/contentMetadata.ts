/** `content_metadata` of the common state: the flags by which a loader decides which keys it asks for. */
import { readCommonState } from "../checkpoint/CommonState.ts"
import { editedCommonState, type NewCommonState } from "../checkpoint/CommonStateEdit.ts"
import type { Store } from "../store/Store.ts"
import { withEntries } from "../torch/ArchiveEdit.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"
import { PickleDict } from "../torch/PickleValue.ts"
import type { PyRead } from "../torch/PyValue.ts"

const FIELD = "content_metadata"

/** Does any flag differ from what is stored? */
const changes = (common: ReadonlyMap<PyRead, PyRead>, flags: ReadonlyMap<string, boolean | null>): boolean => {
  const old = common.get(FIELD)
  const current = old instanceof Map ? old as ReadonlyMap<PyRead, PyRead> : new Map<PyRead, PyRead>()
  return [...flags].some(([field, value]) => (value === null ? current.has(field) : current.get(field) !== value))
}

/** The common state of a checkpoint with some flags set or (null) removed; empty where nothing changes. */
export const withFlags = async (store: Store, directory: string, metadata: DcpMetadata, flags: ReadonlyMap<string, boolean | null>): Promise<NewCommonState> => {
  const common = flags.size === 0 ? undefined : await readCommonState(store, directory, metadata)
  if (!(common?.value instanceof Map) || !changes(common.value as ReadonlyMap<PyRead, PyRead>, flags)) return {}
  const own = new Map([...flags].map(([field, value]) => [field, value ?? undefined] as const))
  return editedCommonState(store, directory, metadata, (dict) => {
    const old = dict.get(FIELD)
    return withEntries(dict, new Map([[FIELD, withEntries(old instanceof PickleDict ? old : new PickleDict(), own)]]))
  })
}
