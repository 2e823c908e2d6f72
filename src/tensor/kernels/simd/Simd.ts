/** The loops that WebAssembly does several times faster than JavaScript (docs/performance.md), bound to a memory. */
import { type Definition, encodeModule } from "./assembler.ts"
import { narrow, lookUp, unpackNibbles, widen } from "./convert.ts"
import { copyElements, copyRuns } from "./copy.ts"
import { transpose } from "./transpose.ts"
import { xorBytes } from "./xor.ts"

/** Elements that have loops of their own, in bytes. */
export type Width = 1 | 2 | 4 | 8

/** Written down when they are first needed: most commands compute nothing. */
const functions = () => ({
  copyRuns: copyRuns(),
  copyElements1: copyElements(1),
  copyElements2: copyElements(2),
  copyElements4: copyElements(4),
  copyElements8: copyElements(8),
  transpose1: transpose(1),
  transpose2: transpose(2),
  transpose4: transpose(4),
  transpose8: transpose(8),
  widen: widen(),
  narrow: narrow(),
  lookUp: lookUp(),
  unpack: unpackNibbles(),
  xor: xorBytes()
})

/** Each as its definition says; numbers are integers below 2^32. */
export type Bound<Definitions> = { readonly [Name in keyof Definitions]: (...parameters: ReadonlyArray<number>) => number }

export type Simd = Bound<ReturnType<typeof functions>>

/** What is used of JavaScript's interface to WebAssembly: TypeScript declares it for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number; readonly shared: boolean }) => WasmMemory
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object, imports: { readonly m: { readonly m: WasmMemory } }) => { readonly exports: unknown }
}

export interface WasmMemory {
  readonly buffer: ArrayBufferLike
}

export const WASM_PAGE = 1 << 16

/** A memory of at least `size` bytes, zeroed; threads can share it if asked for. */
export const allocate = (size: number, shared: boolean): WasmMemory => {
  const pages = Math.max(1, Math.ceil(size / WASM_PAGE))
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
}

/** Functions that are compiled when a memory first needs them, and then bound to each memory. */
export const library = <Definitions extends Readonly<Record<string, Definition>>>(definitions: () => Definitions): (memory: WasmMemory) => Bound<Definitions> => {
  const modules = new Map<boolean, object>()
  return (memory) => {
    const shared = memory.buffer instanceof SharedArrayBuffer
    let module = modules.get(shared)
    if (module === undefined) modules.set(shared, module = new WebAssembly.Module(encodeModule(definitions(), shared)))
    return new WebAssembly.Instance(module, { m: { m: memory } }).exports as Bound<Definitions>
  }
}

export const simdOf = library(functions)
