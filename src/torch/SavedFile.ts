/** A file of `torch.save` by itself (`.pt`, `.pth`, `.bin`), read but for its storages. */
import { FormatError } from "../errors.ts"
import type { PickleValue } from "./PickleValue.ts"
import type { Ranged } from "./Ranges.ts"
import type { StoragePlace, TensorView } from "./TensorView.ts"

export interface SavedFile {
  readonly value: PickleValue
  /** Where the storage of a view is. Errors: `torch/no-data`, `torch/data-size`, those of `zip/…`. */
  readonly place: (view: TensorView) => Ranged<StoragePlace>
  /** A FormatError of `read` is said of the place of the pickle. */
  readonly inPickle: <T>(read: () => T) => T
}

/** What is wrong with something that a pickle says, said of the place of the pickle: it begins at `start`. */
export const pickleFrom = (start: number, record?: string) => <T>(read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new FormatError(error.code, error.message, { ...error.place, ...(record === undefined ? {} : { record }), offset: start + (error.place.offset ?? 0) })
  }
}
