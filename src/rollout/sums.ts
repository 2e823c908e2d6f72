/** Checksums of tensors as they are in files. */
import type { TargetFile } from "../engine/index.ts"
import { readFully, type Store } from "../store/Store.ts"
import { volume } from "../tensor/Copy.ts"
import { bitsOf } from "../tensor/DType.ts"
import { Hashers, type SummedTensor } from "./checksums.ts"

const PIECE = 4 << 20

/** The sum of the bytes [start, end) of a file. */
export const sumOfRange = async (
  hashers: Hashers,
  file: Parameters<typeof readFully>[0],
  start: number,
  end: number,
  room: Uint8Array,
  progress?: (bytes: number) => void
): Promise<string> => {
  const hasher = await hashers.take()
  for (let at = start; at < end;) {
    const piece = room.subarray(0, Math.min(room.byteLength, end - at))
    await readFully(file, piece, at)
    hasher.update(piece)
    at += piece.byteLength
    progress?.(piece.byteLength)
  }
  return hashers.finish(hasher)
}

/** A whole file. */
export const sumOfFile = async (store: Store, path: string): Promise<string> => {
  const file = await store.open(path, "read")
  try {
    return await sumOfRange(new Hashers(), file, 0, (await file.info()).size, new Uint8Array(PIECE))
  } finally {
    await file.close()
  }
}

/** A tensor in a file. */
export interface TensorRange extends Omit<SummedTensor, "checksum"> {
  readonly name: string
  readonly begin: number
  readonly end: number
}

/** Where the tensors of a planned file are. */
export const tensorRanges = ({ segments }: TargetFile): ReadonlyArray<TensorRange> => {
  let at = 0
  return segments.flatMap((segment): ReadonlyArray<TensorRange> => {
    const begin = at
    if (segment.kind === "bytes") at += segment.bytes.byteLength
    else if (segment.kind === "seal") at += segment.length
    else {
      const { dtype, id, shape } = segment.array
      at += Math.ceil((volume(shape) * bitsOf(dtype)) / 8)
      return [{ name: id, dtype, shape, begin, end: at }]
    }
    return []
  })
}

/** The sums of tensors in one file. */
export const sumTensors = async (store: Store, path: string, ranges: ReadonlyArray<TensorRange>, progress?: (bytes: number) => void): Promise<ReadonlyArray<readonly [string, SummedTensor]>> => {
  const file = await store.open(path, "read")
  const hashers = new Hashers()
  const room = new Uint8Array(PIECE)
  try {
    const sums: Array<readonly [string, SummedTensor]> = []
    for (const { begin, dtype, end, name, shape } of ranges) sums.push([name, { dtype, shape, checksum: await sumOfRange(hashers, file, begin, end, room, progress) }])
    return sums
  } finally {
    await file.close()
  }
}
