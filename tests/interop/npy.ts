import { readFileSync } from "node:fs"

/** The data of a NumPy file (version 1) of F32. */
export const numbersIn = (path: string): Float32Array => {
  const bytes = readFileSync(path)
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset + 10 + bytes.readUInt16LE(8), bytes.byteOffset + bytes.byteLength))
}
