/** The bytes of one stored object. */
import { join } from "node:path"
import type { Store } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import type { StoredObject } from "../torch/DcpMetadata.ts"

/** The item as it lies in its data file. The caller bounds its length. */
export const readItem = async (store: Store, directory: string, { file: name, length, offset }: StoredObject): Promise<Uint8Array> => {
  const file = await store.open(join(directory, name), "read")
  try {
    const bytes = new Uint8Array(length)
    await readFully(file, bytes, offset)
    return bytes
  } finally {
    await file.close()
  }
}
