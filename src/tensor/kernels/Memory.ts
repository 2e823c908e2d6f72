/** The memory that kernels compute in. */
import { allocate, type Simd, simdOf, type WasmMemory } from "./simd/Simd.ts"

/** Views of one memory and the loops over it; an address in a typed view must be a multiple of the element's size. */
export interface Memory {
  readonly wasm: WasmMemory
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly f32: Float32Array
  readonly f64: Float64Array
  readonly simd: Simd
  /** The address of {@link TABLES} bytes that kernels remember things in from call to call. */
  readonly tables: number
}

/** Bytes. */
export const TABLES = 1 << 18

/** Of a memory that others may use too; the tables are this one's only. */
export const memoryOf = (wasm: WasmMemory, tables: number): Memory => {
  const { buffer } = wasm
  let simd: Simd | undefined
  return {
    wasm,
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
    // Not before there is something to compute: the first reads are under way by then.
    get simd() {
      return simd ??= simdOf(wasm)
    },
    tables
  }
}

/** A new one with `size` free bytes from address 0 on. */
export const memoryWith = (size: number): Memory => {
  const tables = Math.ceil(size / 8) * 8
  return memoryOf(allocate(tables + TABLES, false), tables)
}
