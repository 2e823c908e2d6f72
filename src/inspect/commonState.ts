/** The common state of a checkpoint: what is no tensor and no module's (torch-dist-format.md A.3). Read, never executed. */
import { join } from "node:path"
import { COMMON_FILE, COMMON_STATE } from "../checkpoint/names.ts"
import { FormatError, invalidFile, IoError, quote } from "../errors.ts"
import { type DiskCalls, readFully } from "../io/Disk.ts"
import { readSmall } from "../io/small.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"
import { readArchive, readObjectItem } from "../torch/ObjectItem.ts"
import { PyFloat, PyOpaque, type PyRead, PyTensorView } from "../torch/PyValue.ts"

/** With the arguments of a training run below 1 MB; schedules of param groups may take some. */
const LARGEST_COMMON = 64 << 20
/** Longest value shown. */
const LONGEST_TEXT = 60

export interface CommonState {
  /** `common.pt` or the name of the data file that holds the object. */
  readonly file: string
  readonly value: PyRead
}

const isMissing = (error: unknown): boolean => error instanceof IoError && error.errno === "ENOENT"

/** `common.pt` wins where both are there, as in the reference. Undefined: neither is there. Errors: InvalidFile, IoError. */
export const readCommonState = async (disk: DiskCalls, directory: string, metadata: DcpMetadata): Promise<CommonState | undefined> => {
  const path = join(directory, COMMON_FILE)
  try {
    const bytes = await readSmall(disk, path, path, LARGEST_COMMON)
    return { file: COMMON_FILE, value: parsed(path, () => readArchive(bytes)) }
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  const object = metadata.objects.get(COMMON_STATE)
  return object && { file: object.file, value: await readObject(disk, directory, object) }
}

/** The object stored at a byte range of a data file. */
export const readObject = async (
  disk: DiskCalls,
  directory: string,
  { file: name, length, offset }: { readonly file: string; readonly offset: number; readonly length: number }
): Promise<PyRead> => {
  const path = join(directory, name)
  const file = await disk.open(path, "read")
  try {
    const [value] = await readObjectItem(length, async (at, count) => {
      const bytes = new Uint8Array(count)
      await readFully(file, bytes, offset + at)
      return bytes
    })
    return value ?? null
  } catch (error) {
    throw error instanceof FormatError ? invalidFile(path, new FormatError(error.code, error.message, { ...error.place, offset })) : error
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

/** One value in a few words. */
export const describeValue = (value: PyRead): string => {
  if (value === null) return "None"
  if (typeof value === "string") return quote(value).slice(0, LONGEST_TEXT)
  if (value instanceof PyFloat) return String(value.value)
  if (value instanceof PyTensorView) return `tensor ${value.view.dtype} [${value.view.shape}]`
  if (value instanceof PyOpaque) return `${value.module}.${value.name}`
  if (value instanceof Map) {
    const inner = [...value].map(([k, v]) => `${describeValue(k)}=${describeValue(v)}`).join(", ")
    return inner.length <= LONGEST_TEXT * 2 ? `{${inner}}` : `dict of ${value.size}`
  }
  if (Array.isArray(value)) return `list of ${value.length}`
  return String(value)
}

/** The entries of a dict, in words. */
export const factsOf = (value: PyRead | undefined): ReadonlyMap<string, string> => {
  const facts = new Map<string, string>()
  if (value instanceof Map) for (const [key, item] of value as ReadonlyMap<PyRead, PyRead>) facts.set(String(key), describeValue(item))
  return facts
}
