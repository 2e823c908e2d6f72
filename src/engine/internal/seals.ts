/** Seals of arrays that several processes assembled: written when all parts of the array are summed. */
import { type DiskCalls, writeFully } from "../../io/Disk.ts"
import type { AddressRange } from "./Arena.ts"
import type { WrittenWindow } from "./ResumeRecord.ts"
import type { TargetFile } from "./Target.ts"
import { joined, type RangeSum, sumsOf } from "./WindowSums.ts"

/** A window with open seals, in its file. */
export interface OpenWindow {
  readonly file: TargetFile
  readonly window: WrittenWindow
}

/**
 * Write the open seals of windows into the files of `directory` and make them durable. `crcOf`: CRC-32 of a range of a file.
 *
 * @returns the windows as they now are, in the order given, with the sums of the seals alone beside.
 */
export const closeSeals = async (
  disk: DiskCalls,
  pathOf: (file: string) => string,
  windows: ReadonlyArray<OpenWindow>,
  crcOf: (file: string, range: AddressRange) => number
): Promise<ReadonlyArray<OpenWindow & { readonly sealed: ReadonlyArray<RangeSum> }>> => {
  const closed: Array<OpenWindow & { readonly sealed: ReadonlyArray<RangeSum> }> = []
  for (const [file, own] of Map.groupBy(windows, ({ file: f }) => f)) {
    const handle = await disk.open(pathOf(file.name), "readwrite")
    try {
      for (const { window } of own) {
        const sealed: Array<RangeSum> = []
        for (const { array, from, position, segment: index, to } of window.open) {
          const segment = file.segments[index]!
          if (segment.kind !== "seal") throw new RangeError(`segment ${index} of ${file.name} is no seal`)
          const bytes = segment.bytes(crcOf(file.name, array)).subarray(from, to)
          await writeFully(handle, bytes, position)
          sealed.push(...sumsOf(bytes, position))
        }
        const sums = [...window.sums, ...sealed].sort((a, b) => a.position - b.position)
        closed.push({ file, window: { ...window, sums, crc32: joined(sums), open: [] }, sealed })
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  return closed
}
