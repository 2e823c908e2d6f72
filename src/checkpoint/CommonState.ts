/** The common state of a checkpoint: what is no tensor and no module's (torch-dist-format.md A.3). Read, never executed. */
import { join } from "node:path"
import { FormatError, InvalidFile, invalidFile } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import type { DcpMetadata, StoredObject } from "../torch/DcpMetadata.ts"
import { readArchive, readObjectItem } from "../torch/ObjectItem.ts"
import type { PyRead } from "../torch/PyValue.ts"
import type { RangeReader } from "../torch/Ranges.ts"
import { COMMON_FILE, COMMON_STATE } from "./names.ts"
import { readOwn } from "./ownFile.ts"

/** With the arguments of a training run below 1 MB; schedules of param groups may take some. */
export const LARGEST_COMMON = 64 << 20

export interface CommonState {
  /** `common.pt` or the name of the data file that holds the object. */
  readonly file: string
  readonly value: PyRead
}

/** `common.pt` wins where both are there, as in the reference. Undefined: neither is there. Errors: InvalidFile, IoError. */
export const readCommonState = async (store: Store, directory: string, metadata: DcpMetadata): Promise<CommonState | undefined> => {
  if (metadata.run) return metadata.run
  const path = join(directory, COMMON_FILE)
  try {
    const bytes = await readOwn(store, directory, COMMON_FILE, LARGEST_COMMON)
    return { file: COMMON_FILE, value: parsed(path, () => readArchive(bytes)) }
  } catch (error) {
    // A link to nothing is no absent file: the copy is incomplete.
    if (!(error instanceof InvalidFile && error.code === "file/missing")) throw error
  }
  const object = metadata.objects.get(COMMON_STATE)
  return object && { file: object.file, value: await readObject(store, directory, COMMON_STATE, object) }
}

/** The object `key`, stored at a byte range of a data file: the only one in a list. */
const readObject = async (store: Store, directory: string, key: string, object: StoredObject): Promise<PyRead> =>
  readStored(store, directory, key, object, async (length, read) => (await readObjectItem(length, read))[0] ?? null)

/** The object of a bare key, as plain DCP stores it: by itself. Errors: InvalidFile, IoError. */
export const readBareObject = (store: Store, directory: string, key: string, object: StoredObject): Promise<PyRead> =>
  readStored(store, directory, key, object, async (length, read) => {
    if (length > LARGEST_COMMON) throw new FormatError("file/too-large", `the object has ${length} bytes; no more than ${LARGEST_COMMON} are read`)
    return readArchive(await read(0, length))
  })

const readStored = async (store: Store, directory: string, key: string, { file: name, length, offset }: StoredObject, parse: (length: number, read: RangeReader) => Promise<PyRead>): Promise<PyRead> => {
  const path = join(directory, name)
  const file = await store.open(path, "read")
  try {
    return await parse(length, async (at, count) => {
      const bytes = new Uint8Array(count)
      await readFully(file, bytes, offset + at)
      return bytes
    })
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw invalidFile(path, new FormatError(error.code, error.message, { ...error.place, tensor: key, offset: offset + (error.place.offset ?? 0) }))
  } finally {
    await file.close()
  }
}

const parsed = <A>(path: string, parse: () => A): A => {
  try {
    return parse()
  } catch (error) {
    throw error instanceof FormatError ? invalidFile(path, error) : error
  }
}
