/** What a kernel is: values in, values out, in one memory; where bytes come from and go is the engine's business. */
import type { Memory } from "./Memory.ts"

/** Byte addresses, each a multiple of its element's size (`temporary`: of 8); elements lie contiguously. */
export interface KernelCall {
  readonly source: number
  /** Each operand has one element per `run` elements of the source. */
  readonly operands: ReadonlyArray<number>
  readonly out: number
  readonly count: number
  readonly run: number
  /** Room for `count` × {@link Kernel.temporary} bytes, and 64 more for rounding. */
  readonly temporary: number
}

export interface Kernel {
  /** Bytes of scratch per element. */
  readonly temporary: number
  /** Operands must be given element by element (`run` = 1); otherwise one value may serve a run (scales). */
  readonly elementwise: boolean
  /** Returns how many elements cannot be got back bit for bit by the opposite step. */
  readonly apply: (m: Memory, call: KernelCall) => number
}
