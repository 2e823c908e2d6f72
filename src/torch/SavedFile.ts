/** A file of `torch.save` by itself (`.pt`, `.pth`, `.bin`), read but for its storages. */
import type { PickleValue } from "./PickleValue.ts"
import type { Ranged } from "./Ranges.ts"
import type { StoragePlace, TensorView } from "./TensorView.ts"

export interface SavedFile {
  readonly value: PickleValue
  /** Where the storage of a view is. Errors: `torch/no-data`, `torch/data-size`, those of `zip/…`. */
  readonly place: (view: TensorView) => Ranged<StoragePlace>
  /** A FormatError of `read` is said of the place of the pickle. */
  readonly inPickle: <T>(read: () => T) => Ranged<T>
}
