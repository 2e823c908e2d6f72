/** What is computed in the engine's memory, as plain data: any thread that has the memory can do it, with the same result. */
import type { Memory } from "../tensor/kernels/Memory.ts"
import type { WasmMemory } from "../tensor/kernels/simd/Simd.ts"
import { place, type Placing, type WorkRoom } from "./place.ts"
import { type Sum, sumsOf } from "./WindowSums.ts"

/** `length` bytes at an address, which will lie at `position` of a file. */
export interface RangeToSum {
  readonly at: number
  readonly length: number
  readonly position: number
}

/** Each maps items to as many results. */
export interface Orders {
  /** Put in place; how many elements changed value. */
  readonly place: readonly [item: Placing, result: number]
  readonly sum: readonly [item: RangeToSum, result: ReadonlyArray<Sum>]
}

export type Order = keyof Orders

type Perform = { readonly [O in Order]: (m: Memory, item: Orders[O][0], room: WorkRoom) => Orders[O][1] }

export const perform: Perform = {
  place,
  sum: ({ u8 }, { at, length, position }) => sumsOf(u8.subarray(at, at + length), position)
}

/** Bytes that an item touches. */
export const bytesOfItem: { readonly [O in Order]: (item: Orders[O][0]) => number } = {
  place: ({ shape, to }) => shape.reduce((n, extent) => n * extent, to.width),
  sum: ({ length }) => length
}

/** What a thread is told, and what it answers; answers come in the order of the questions. */
export interface Question {
  readonly order: Order
  readonly items: ReadonlyArray<Orders[Order][0]>
}
export type Answer = { readonly results: ReadonlyArray<Orders[Order][1]> } | { readonly error: unknown }

/** What a thread starts with. */
export interface ThreadData extends WorkRoom {
  readonly memory: WasmMemory
  /** The address of tables of its own. */
  readonly tables: number
}
