/** Is a target already what a job would write? */
import { join } from "node:path"
import type { DiskCalls } from "../../io/Disk.ts"
import { InvalidFile, IoError } from "../../errors.ts"
import { readSmall } from "../../io/small.ts"
import { contentOf, type Job, type SourceState } from "../journal/Job.ts"
import { decodeChecksums, LARGEST_CHECKSUMS } from "./Checksums.ts"
import { CHECKSUMS } from "./names.ts"

/**
 * True if the checksums in `directory` are of a job on the same content, were written after the sources were last changed, and
 * every file is there with its size. (What is in the files `verify --deep` checks.) False also if nobody can tell.
 */
export const isFinished = async (disk: DiskCalls, directory: string, job: Job, sources: ReadonlyArray<SourceState>): Promise<boolean> => {
  const path = join(directory, CHECKSUMS)
  try {
    const { mtimeMs } = await disk.stat(path)
    const checksums = decodeChecksums(path, await readSmall(disk, path, path, LARGEST_CHECKSUMS))
    if (checksums.source !== contentOf(job) || sources.some(({ identity }) => identity.mtimeMs >= mtimeMs)) return false
    for (const { name, size } of checksums.files) if ((await disk.stat(join(directory, name))).size !== size) return false
    return true
  } catch (error) {
    if (error instanceof InvalidFile || error instanceof IoError) return false
    throw error
  }
}
