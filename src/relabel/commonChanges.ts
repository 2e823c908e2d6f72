/** Changes of the common state: `content_metadata`, by whose flags a loader decides which keys it asks for, and the arguments of a run. */
import { readCommonState } from "../checkpoint/CommonState.ts"
import { editedCommonState, type NewCommonState } from "../checkpoint/CommonStateEdit.ts"
import type { Store } from "../store/Store.ts"
import { type PlainValue, withEntries } from "../torch/ArchiveEdit.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"
import { PickleDict, type PickleObject } from "../torch/PickleValue.ts"
import type { PyRead } from "../torch/PyValue.ts"

const FIELD = "content_metadata"

/** Does any flag differ from what is stored? */
const changes = (common: ReadonlyMap<PyRead, PyRead>, flags: ReadonlyMap<string, boolean | null>): boolean => {
  const old = common.get(FIELD)
  const current = old instanceof Map ? old as ReadonlyMap<PyRead, PyRead> : new Map<PyRead, PyRead>()
  return [...flags].some(([field, value]) => (value === null ? current.has(field) : current.get(field) !== value))
}

/** What of the common state changes. */
export interface CommonChanges {
  /** Flags of `content_metadata`, set or (null) removed. */
  readonly flags: ReadonlyMap<string, boolean | null>
  /** `args` of a run. */
  readonly args?: PickleObject
}

/** The common state of a checkpoint with these changes; empty where nothing changes. */
export const changedCommonState = async (store: Store, directory: string, metadata: DcpMetadata, { args, flags }: CommonChanges): Promise<NewCommonState> => {
  const common = flags.size === 0 ? undefined : await readCommonState(store, directory, metadata)
  const flagged = common?.value instanceof Map && changes(common.value as ReadonlyMap<PyRead, PyRead>, flags)
  if (!flagged && args === undefined) return {}
  const own = new Map([...flags].map(([field, value]) => [field, value ?? undefined] as const))
  return editedCommonState(store, directory, metadata, (dict) => {
    const old = dict.get(FIELD)
    return withEntries(dict, new Map<string, PlainValue>([
      ...(flagged ? [[FIELD, withEntries(old instanceof PickleDict ? old : new PickleDict(), own)] as const] : []),
      ...(args ? [["args", args] as const] : [])
    ]))
  })
}
