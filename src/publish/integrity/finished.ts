/** Is a target already what a job would write? The content of the sources decides, never names or times. */
import { Effect } from "effect"
import { join } from "node:path"
import type { TargetFile } from "../../engine/index.ts"
import { InvalidFile, IoError } from "../../errors.ts"
import { reading } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { isRemote } from "../../remote/place.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { readSmall } from "../../store/readSmall.ts"
import type { Store } from "../../store/Store.ts"
import { contentOf, type Fingerprint } from "../journal/Fingerprint.ts"
import { type Checksums, decodeChecksums, type FileChecksums, LARGEST_CHECKSUMS } from "./Checksums.ts"
import { CHECKSUMS } from "./names.ts"
import { type ContentOptions, firstDifferent } from "./sourceContent.ts"

/** `complete`: it is, `bytes` of the sources were compared. `other`: the sources give another content of `file`. `unknown`: nobody can tell. */
export type Finished =
  | { readonly state: "complete"; readonly bytes: number }
  | { readonly state: "other"; readonly file: string }
  | { readonly state: "unknown" }

/** The checksums in `directory`, if they are of this job and every file has its size. */
const recorded = async (disk: Store, directory: string, job: Fingerprint): Promise<Checksums | undefined> => {
  const path = join(directory, CHECKSUMS)
  try {
    const checksums = decodeChecksums(path, await readSmall(disk, path, path, LARGEST_CHECKSUMS))
    if (checksums.source !== contentOf(job)) return undefined
    for (const { name, size } of checksums.files) {
      const { kind, size: found } = await disk.stat(join(directory, name))
      if (kind !== "file" || found !== size) return undefined
    }
    return checksums
  } catch (error) {
    if (error instanceof InvalidFile || error instanceof IoError) return undefined
    throw error
  }
}

/**
 * A file of the target is what the job would write if it has its size, and the sources, read again, give the bytes that its checksum
 * was taken of. (Whether it still has those bytes `verify --deep` says.)
 */
export const finished = Effect.fnUntraced(function*(
  directory: string,
  job: Fingerprint,
  files: ReadonlyArray<TargetFile>,
  options: ContentOptions
) {
  const store: Store = isRemote(directory) ? yield* storeInUse : yield* Disk
  const checksums = yield* reading(() => recorded(store, directory, job))
  if (checksums === undefined) return { state: "unknown" } satisfies Finished as Finished
  const sums = new Map<string, FileChecksums>(checksums.files.map((file) => [file.name, file]))
  const file = yield* firstDifferent(files, sums, options)
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return (file === undefined ? { state: "complete", bytes } : { state: "other", file }) satisfies Finished as Finished
})
