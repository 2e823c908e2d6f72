/**
 * `npm run bench:kernels`: the loops of `src/tensor/kernels/simd` against the plain ones that tests hold them against, and the
 * checksum; medians, in gigabytes of input per second on one core.
 */
import { crc32 } from "node:zlib"
import { memoryWith } from "../../src/tensor/kernels/Memory.ts"
import type { Simd } from "../../src/tensor/kernels/simd/Simd.ts"
import { plain } from "../../tests/tensor/kernels/plain.ts"
import { median } from "./measure.ts"

const ROOM = 64 << 20
const memory = memoryWith(2 * ROOM)
const { simd, u32, u8 } = memory
// Finite as floats.
for (let i = 0; i < ROOM / 4; i++) u32[i] = Math.imul(i, 0x9e3779b1) & 0xbfbfbfbf
const TARGET = ROOM

/** Each is repeated until it has moved this much. */
const ENOUGH = 64 << 20

const speed = (bytes: number, once: () => void): number => {
  const turns = Math.max(1, Math.round(ENOUGH / bytes))
  const times = Array.from({ length: 7 }, () => {
    const started = performance.now()
    for (let i = 0; i < turns; i++) once()
    return (performance.now() - started) / turns
  })
  return bytes / median(times) / 1e6
}

const row = (what: string, bytes: number, name: keyof Simd, ...parameters: ReadonlyArray<number>): void => {
  const vectors = speed(bytes, () => void simd[name](...parameters))
  const scalars = speed(bytes, () => void plain[name](u8, ...parameters))
  console.log(`| ${what} | ${scalars.toFixed(2)} | ${vectors.toFixed(2)} |`)
}

console.log("| GB/s | plain | vectors |\n| --- | ---: | ---: |")
for (const width of [1, 2, 4, 8] as const) {
  for (const [rows, columns] of [[256, 256], [2048, 1408]] as const) {
    row(`transpose of ${rows} × ${columns}, ${width} bytes`, rows * columns * width, `transpose${width}`, rows, columns, 0, columns * width, TARGET, rows * width)
  }
}
for (const length of [16, 64, 256, 4096]) {
  const count = (8 << 20) / length
  row(`every other run of ${length} bytes`, 8 << 20, "copyRuns", count, 0, 2 * length, TARGET, length, length)
}
row("F32 to BF16", 4 << 16, "narrow", 0, TARGET, 1 << 16)
row("BF16 to F32", 2 << 16, "widen", 0, TARGET, 1 << 16)
const [tables, products, runs] = [TARGET - 4096, TARGET - 8192, 512]
u32.fill(products, tables / 4, tables / 4 + runs)
row("look-up of FP8 codes, 128 per scale", runs * 128, "lookUp", 0, tables, TARGET, runs, 128)
row("4-bit codes to bytes", 1 << 16, "unpack", 0, TARGET, 1 << 16)
for (const size of [256 << 10, 32 << 20]) {
  const bytes = u8.subarray(0, size)
  console.log(`| CRC-32 of ${size >> 10} KiB, \`zlib.crc32\` | ${speed(size, () => void crc32(bytes)).toFixed(2)} | |`)
}
