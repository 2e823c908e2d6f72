/** What a pickle may hold, how large it may be, and who takes its values. */
import type { PickleDict, PickleList, PickleValue } from "./PickleValue.ts"

export interface PickleLimits {
  /** Longest pickle in bytes. An opcode is at least one byte, so this bounds the opcodes too. */
  readonly maxBytes: number
  /** Bytes that the decoded values may take, as estimated below. */
  readonly maxMemory: number
  /** Memo entries. */
  readonly maxMemo: number
  /** Values on the stack; CPython writes batches of 1000, so real pickles stay far below. */
  readonly maxStack: number
  /** Bytes of one string. */
  readonly maxString: number
}

/** For small pickles: the `data.pkl` of an archive. */
export const SMALL_PICKLE: PickleLimits = {
  maxBytes: 64 << 20,
  maxMemory: 160 << 20,
  maxMemo: 4_000_000,
  maxStack: 1_000_000,
  maxString: 16 << 20
}

/**
 * Takes values out of large containers while they are filled, so that they are never all there at once. True: it is taken; a list
 * gets null in its place, a dict nothing. A value may still be incomplete; what is not taken is found in the container.
 */
export interface PickleSink {
  readonly element: (list: PickleList, value: PickleValue) => boolean
  readonly entry: (dict: PickleDict, key: PickleValue, value: PickleValue) => boolean
}

export interface PicklePolicy {
  /** The globals that may appear, each as `module name`. */
  readonly globals: ReadonlySet<string>
  /** Keep unlisted globals as inert values instead of refusing the pickle. */
  readonly opaque?: boolean
  /** Allow persistent ids (torch's storages). */
  readonly persistent?: boolean
  /** Told of every persistent id. */
  readonly persistentId?: (id: PickleValue) => void
  readonly sink?: PickleSink
  readonly limits?: PickleLimits
}
