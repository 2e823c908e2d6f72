/** The record of a replacement under way: which directory is the new content, and what the former one was. */
import { join } from "node:path"
import { z } from "zod"
import { decodeJson } from "../../document/decode.ts"
import { InvalidFile } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { isMissing, present } from "../../store/present.ts"
import { writeSmall } from "../../io/small.ts"
import { readSmall } from "../../store/readSmall.ts"
import { topOf } from "./content.ts"
import { COMMIT, REPLACED } from "./names.ts"

/** Inodes tell the directories apart wherever they are; `top` as in {@link topOf}. */
const recordSchema = z.object({ ino: z.number(), former: z.object({ ino: z.number(), top: z.string().max(128) }) })
export type CommitRecord = z.infer<typeof recordSchema>

const LARGEST_RECORD = 1024

/** Write it durably. */
export const writeRecord = async (disk: DiskCalls, staging: string, record: CommitRecord): Promise<void> => {
  const path = join(staging, COMMIT)
  await writeSmall(disk, `${path}.new`, Buffer.from(JSON.stringify(record)))
  await disk.rename(`${path}.new`, path)
  await disk.syncDirectory(staging)
}

/** No replacement is under way any more. */
export const removeRecord = async (disk: DiskCalls, staging: string): Promise<void> => {
  for (const path of [join(staging, COMMIT), `${join(staging, COMMIT)}.new`]) {
    await disk.remove(path).catch((error: unknown) => {
      if (!isMissing(error)) throw error
    })
  }
}

/** Undefined if no replacement is under way. */
export const readCommitRecord = async (disk: DiskCalls, staging: string): Promise<CommitRecord | undefined> => {
  const path = join(staging, COMMIT)
  try {
    return decodeJson(recordSchema, path, await readSmall(disk, path, path, LARGEST_RECORD))
  } catch (error) {
    if (error instanceof InvalidFile || isMissing(error)) return undefined
    throw error
  }
}

/** Is `replaced` what was to be replaced, with nothing that came to be in it since? */
export const isFormerContent = async (disk: DiskCalls, staging: string): Promise<boolean> => {
  const [record, found] = [await readCommitRecord(disk, staging), await present(disk, join(staging, REPLACED))]
  return record !== undefined && found?.kind === "directory" && found.ino === record.former.ino && await topOf(disk, join(staging, REPLACED)) === record.former.top
}

/** Was the target of this staging folder replaced, and only the cleaning up is missing? */
export const isReplaced = async (disk: DiskCalls, staging: string, path: string): Promise<boolean> => {
  const record = await readCommitRecord(disk, staging)
  return record !== undefined && (await present(disk, path))?.ino === record.ino
}

/** May `replaced` be removed: does the target have its new content, and is that all there is to it? True if there is none. */
export const isFormerDisposable = async (disk: DiskCalls, staging: string, path: string): Promise<boolean> =>
  !(await present(disk, join(staging, REPLACED))) || (await isReplaced(disk, staging, path) && await isFormerContent(disk, staging))
