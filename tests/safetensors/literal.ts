/** Safetensors files as literals: the JSON is written out in the test, the length field is computed. */
import { FormatError } from "../../src/errors.ts"

/** `u64 N | json | data`; a number stands for that many zero bytes. */
export const file = (json: string | Uint8Array, data: number | Uint8Array = 0): Uint8Array => {
  const header = typeof json === "string" ? Buffer.from(json) : json
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.byteLength))
  return new Uint8Array(Buffer.concat([length, header, typeof data === "number" ? Buffer.alloc(data) : data]))
}

/** Eight bytes of length field that say `n`. */
export const lengthField = (n: bigint): Uint8Array => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, n, true)
  return bytes
}

/** What a codec complains about; fails the test if it does not. */
export const refusal = (run: () => unknown): FormatError => {
  try {
    run()
  } catch (error) {
    if (error instanceof FormatError) return error
    throw error
  }
  throw new Error("accepted")
}

/** A small linear congruential generator: tests repeat exactly. */
export const seeded = (seed: number): (below: number) => number => {
  let state = seed
  return (below) => (state = (state * 1103515245 + 12345) & 0x7fffffff) % below
}
