/** Checks the stored tensors of a Megatron checkpoint against the CRC-32 that torch writes into each of them (and never reads). */
import { storeInUse } from "../../io/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import { openCheckpoint } from "../../checkpoint/Checkpoint.ts"
import { FormatError, invalidFile } from "../../errors.ts"
import { reading } from "../../io/attempt.ts"
import { readFully } from "../../store/Store.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import { crc32 } from "../../torch/Crc32.ts"
import { readTensorItem } from "../../torch/TensorItem.ts"
import { blockDamage, type Damage } from "./Damage.ts"
import type { DeepOptions, DeepReport } from "./DeepReport.ts"

const BUFFER = 4 << 20

/** Every tensor of the checkpoint, training state included. */
export const deepItems = Effect.fnUntraced(function*(path: string, options: DeepOptions) {
  const store = yield* storeInUse
  const { directory, metadata, notes } = yield* openCheckpoint(path)
  return yield* reading(async (): Promise<DeepReport> => {
    const byFile = new Map<string, Array<{ readonly key: string; readonly chunk: StoredChunk }>>()
    let bytes = 0
    for (const [key, { chunks }] of metadata.tensors) {
      for (const chunk of chunks) {
        bytes += chunk.length
        const own = byFile.get(chunk.file)
        if (own) own.push({ key, chunk })
        else byFile.set(chunk.file, [{ key, chunk }])
      }
    }
    options.onSize?.(bytes)
    const damages: Array<Damage> = []
    const buffer = new Uint8Array(BUFFER)
    let unchecked = 0
    for (const [name, items] of byFile) {
      const filePath = join(directory, name)
      const file = await store.open(filePath, "read")
      try {
        for (const { chunk, key } of items.sort((a, b) => a.chunk.offset - b.chunk.offset)) {
          const item = await readTensorItem(chunk.length, async (offset, length) => {
            const part = new Uint8Array(length)
            await readFully(file, part, chunk.offset + offset)
            return part
          }).catch((error: unknown) => {
            if (!(error instanceof FormatError)) throw error
            throw invalidFile(filePath, new FormatError(error.code, error.message, { tensor: key, offset: chunk.offset + (error.place.offset ?? 0) }))
          })
          const begin = chunk.offset + item.dataOffset
          const end = begin + item.dataLength
          let crc = 0
          for (let at = begin; at < end; at += BUFFER) {
            const part = buffer.subarray(0, Math.min(BUFFER, end - at))
            await readFully(file, part, at)
            crc = crc32(part, crc)
            options.progress?.(part.byteLength)
          }
          // Zero stands for "not computed".
          if (item.crc32 === 0 && item.dataLength > 0) unchecked++
          else if (crc !== item.crc32) {
            const span = { name: key, file: name, begin, end, crc32: "" }
            damages.push(await blockDamage(name, { begin, end, expected: item.crc32, actual: crc }, [span], async () => true))
          }
        }
      } finally {
        await file.close()
      }
    }
    return {
      path,
      against: "items",
      files: byFile.size,
      tensors: metadata.tensors.size,
      bytes,
      damages,
      notes: [
        ...notes,
        "it has no checksums of its own: the data of every tensor was compared with the CRC-32 that it was stored with, nothing else",
        ...(unchecked > 0 ? [`${unchecked} stored tensors carry no CRC-32`] : [])
      ]
    }
  })
})
