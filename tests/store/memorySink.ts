/** Files in memory as a sink: they come into `files`, by name, with the commit and not before. */
import { createHash } from "node:crypto"
import { IoError } from "../../src/errors.ts"
import type { FileInfo } from "../../src/io/Disk.ts"
import type { Sink } from "../../src/store/Sink.ts"

interface Growing {
  readonly size: number
  bytes: Uint8Array
}

export const memorySink = (files: Map<string, Uint8Array>): Sink<FileInfo> => {
  const staged = new Map<string, Growing>()
  let committed = false
  return {
    create: async ({ begun, name, shared, size }) => {
      const before = staged.get(name)
      if (committed || (before && !begun && !shared)) throw new IoError({ path: name, operation: "open", errno: "EEXIST" })
      const file = before ?? { size, bytes: new Uint8Array(0) }
      staged.set(name, file)
      const write = (bytes: Uint8Array, position: number): void => {
        const grown = new Uint8Array(Math.max(file.bytes.byteLength, position + bytes.byteLength))
        grown.set(file.bytes)
        grown.set(bytes, position)
        file.bytes = grown
      }
      return {
        write: async (room, length, position) => {
          write(room.subarray(0, length), position)
          return false
        },
        sync: async () => {},
        writeAround: async (room, length, position, holes) => {
          let from = 0
          for (const { end, start } of [...holes, { start: length, end: length }]) {
            write(room.subarray(from, start), position + from)
            from = end
          }
        },
        finish: async () => {
          if (file.bytes.byteLength !== size) throw new IoError({ path: name, operation: "write", errno: "ESHORT" })
          const identity = createHash("sha256").update(file.bytes).digest("hex")
          return { kind: "file", size, identity, stamp: identity, dev: 0, ino: 0, mtimeNs: 0n, ctimeNs: 0n }
        },
        abandon: async () => {}
      }
    },
    commit: async () => {
      committed = true
      for (const [name, { bytes }] of staged) files.set(name, bytes)
    }
  }
}
