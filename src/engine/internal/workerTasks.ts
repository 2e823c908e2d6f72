/** What is computed in the engine's memory, as plain data: any thread that has the memory can do it, with the same result. */
import { addSums, type ElementSums } from "../../arithmetic/matrixSums.ts"
import { bytesOf } from "../../tensor/DType.ts"
import type { Memory } from "../../tensor/kernels/Memory.ts"
import type { WasmMemory } from "../../tensor/kernels/simd/Simd.ts"
import { placeCopy, type Placing, type WorkRoom } from "./placeCopy.ts"
import { type RangeSum, sumsOf } from "./WindowSums.ts"

/** `length` bytes at an address, which will lie at `position` of a file. */
export interface RangeToSum {
  readonly at: number
  readonly length: number
  readonly position: number
}

/** Each maps items to as many results. */
export interface Tasks {
  /** Put in place; how many elements changed value. */
  readonly place: readonly [item: Placing, result: number]
  readonly sum: readonly [item: RangeToSum, result: ReadonlyArray<RangeSum>]
  readonly add: readonly [item: ElementSums, result: void]
}

export type TaskKind = keyof Tasks

type Perform = { readonly [O in TaskKind]: (m: Memory, item: Tasks[O][0], room: WorkRoom) => Tasks[O][1] }

export const perform: Perform = {
  place: placeCopy,
  sum: ({ u8 }, { at, length, position }) => sumsOf(u8.subarray(at, at + length), position),
  add: addSums
}

/** Bytes that an item touches. */
export const bytesOfItem: { readonly [O in TaskKind]: (item: Tasks[O][0]) => number } = {
  place: ({ shape, to }) => shape.reduce((n, extent) => n * extent, to.width),
  sum: ({ length }) => length,
  add: ({ count, dtype }) => count * bytesOf(dtype)
}

/** What a thread is told, and what it answers; answers come in the order of the questions. */
export interface Question {
  readonly order: TaskKind
  readonly items: ReadonlyArray<Tasks[TaskKind][0]>
}
export type Answer = { readonly results: ReadonlyArray<Tasks[TaskKind][1]> } | { readonly error: unknown }

/** What a thread starts with. */
export interface WorkerData extends WorkRoom {
  readonly memory: WasmMemory
  /** The address of tables of its own. */
  readonly tables: number
}
