/** Any file of `torch.save`, of whichever form. */
import { isBeforeZip, parseBeforeZip } from "./BeforeZip.ts"
import { openArchive, readPickle } from "./Archive.ts"
import { TENSOR_GLOBALS, WEIGHT_GLOBALS } from "./Globals.ts"
import type { PicklePolicy } from "./PicklePolicy.ts"
import type { Ranged } from "./Ranges.ts"
import { pickleFrom, type SavedFile } from "./SavedFile.ts"
import { placeStorage } from "./TensorView.ts"
import { contentOffset } from "./Zip.ts"

const START_BYTES = 16

/** Unknown classes are kept as inert values. */
const ANY_CLASS: PicklePolicy = { globals: TENSOR_GLOBALS, persistent: true, opaque: true }
/** For files that hold tensors and nothing else: any other name is refused. */
export const TENSORS_ONLY: PicklePolicy = { globals: WEIGHT_GLOBALS, persistent: true }

/** Nothing is executed, whatever the policy. Errors: `zip/…`, `pickle/…`, `torch/…`. */
export function* parseSaved(length: number, policy: PicklePolicy = ANY_CLASS): Ranged<SavedFile> {
  if (length >= START_BYTES && isBeforeZip(yield { offset: 0, length: START_BYTES })) return yield* parseBeforeZip(length, policy)
  const archive = yield* openArchive(length)
  const value = yield* readPickle(archive, policy)
  const record = archive.records.get(`${archive.root}/data.pkl`)!
  return { value, place: (view) => placeStorage(archive, view), inPickle: pickleFrom(yield* contentOffset(record), record.name) }
}
