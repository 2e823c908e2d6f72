/** Any file of `torch.save`, of whichever form. */
import { isBeforeZip, parseBeforeZip } from "./BeforeZip.ts"
import { parseArchive } from "./ObjectItem.ts"
import type { Ranged } from "./Ranges.ts"
import { pickleFrom, type SavedFile } from "./SavedFile.ts"
import { placeStorage } from "./TensorView.ts"
import { contentOffset } from "./Zip.ts"

const START_BYTES = 16

/** Unknown classes are opaque; nothing is executed. Errors: `zip/…`, `pickle/…`, `torch/…`. */
export function* parseSaved(length: number): Ranged<SavedFile> {
  if (length >= START_BYTES && isBeforeZip(yield { offset: 0, length: START_BYTES })) return yield* parseBeforeZip(length)
  const { archive, value } = yield* parseArchive(length)
  const record = archive.records.get(`${archive.root}/data.pkl`)!
  return { value, place: (view) => placeStorage(archive, view), inPickle: pickleFrom(yield* contentOffset(record), record.name) }
}
