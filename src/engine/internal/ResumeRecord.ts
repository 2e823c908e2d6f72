/** Windows of files that an interrupted execution wrote, and what the next one is told of its own. */
import type { FileWindow } from "./FileWindows.ts"
import type { OpenSeal } from "./OpenSeal.ts"
import type { SourceFiles } from "./SourceFiles.ts"
import { joined, type RangeSum, sumsOf } from "./WindowSums.ts"
import { IoError } from "../../errors.ts"

/** A window as it was written. */
export interface WindowRecord {
  readonly position: number
  readonly size: number
  /** Of the window's bytes. */
  readonly crc32: number
  /** Elements that changed value, per part of the window. */
  readonly changed: ReadonlyArray<number>
}

export interface WrittenWindow extends WindowRecord {
  /** In order, without gaps but for open seals; cut at arrays and at blocks of the file. */
  readonly sums: ReadonlyArray<RangeSum>
  /** An earlier execution wrote it; it was read again and is intact. */
  readonly found: boolean
  /** Where zeros are instead of a seal. If there is any, `crc32` is 0: nobody knows it yet. */
  readonly open: ReadonlyArray<OpenSeal>
}

/**
 * What an interrupted execution with the same files, sources and block size left. It is not trusted: a window counts as written
 * if its bytes, read again, have the recorded checksum.
 */
export interface ResumeRecord {
  /** The file may exist, in any state. */
  readonly began: (file: string) => boolean
  readonly find: (file: string, position: number) => WindowRecord | undefined
}

/** A window's bytes in ranges: one per part, literal and seal, in the order of the file. */
const ranges = ({ literals, parts, seals }: FileWindow): ReadonlyArray<readonly [start: number, end: number]> =>
  [
    ...parts.map(({ at, end, start }) => [at, at + end - start] as const),
    ...literals.map(({ at, bytes }) => [at, at + bytes.byteLength] as const),
    ...seals.map(({ at, from, to }) => [at, at + to - from] as const)
  ].sort((a, b) => a[0] - b[0])

/** The sums of a window that lies in `bytes`. */
const windowSums = (window: FileWindow, bytes: Uint8Array): ReadonlyArray<RangeSum> =>
  ranges(window).flatMap(([start, end]) => sumsOf(bytes.subarray(start, end), window.position + start))

/** Read a recorded window into `bytes`. Undefined unless it is there, as it was recorded. */
export const readRecorded = async (
  files: SourceFiles,
  path: string,
  window: FileWindow,
  record: WindowRecord,
  bytes: Uint8Array
): Promise<WrittenWindow | undefined> => {
  const { position, size } = window
  if (record.size !== size || record.changed.length !== window.parts.length) return undefined
  try {
    await files.readInto(path, bytes.subarray(0, size), position)
  } catch (error) {
    // Missing, too short or unreadable: it is written again, which fails if the reason persists.
    if (error instanceof IoError) return undefined
    throw error
  }
  const sums = windowSums(window, bytes)
  return joined(sums) === record.crc32 ? { ...record, sums, found: true, open: [] } : undefined
}
