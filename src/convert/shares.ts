/** What each of several processes does of a conversion, and what it costs: for plans and reports. */
import { type EngineOptions, settingsOf, type TargetFile } from "../engine/index.ts"
import { unitsOf } from "./units.ts"

/** What one process writes, before anybody is slow. */
export interface ProcessShare {
  readonly rank: number
  /** Names of the files, or of those in which it has a part, in the order of the plan. */
  readonly files: ReadonlyArray<string>
  readonly bytes: number
}

/** Shares of all processes, by rank; `layoutRanks` as in `Payload`. */
export const sharesOf = (files: ReadonlyArray<TargetFile>, processes: number, layoutRanks?: number): ReadonlyArray<ProcessShare> => {
  const shares = Array.from({ length: processes }, (_, rank) => ({ rank, files: new Set<string>(), bytes: 0 }))
  for (const { bytes, owner, portion } of unitsOf(files, processes, layoutRanks)) {
    const share = shares[owner]!
    share.bytes += bytes
    for (const name of portion.keys()) share.files.add(name)
  }
  const order = new Map(files.map(({ name }, i) => [name, i]))
  return shares.map((share) => ({ ...share, files: [...share.files].sort((a, b) => order.get(a)! - order.get(b)!) }))
}

/** Node, the program and its heap; 95 to 130 MB were measured (docs/performance.md). */
const PROGRAM = 125e6
const EACH_THREAD = 12e6
/** What planning and the engine keep of a tensor: 500 MB more with 100 000 of them. */
const EACH_TENSOR = 5000

/** Bytes of memory that one process of a conversion takes at most: the program, buffers, threads, and the plan of so many tensors. */
export const memoryOfProcess = (engine: EngineOptions, tensors: number): number => {
  const { memory, threads } = settingsOf(engine)
  return PROGRAM + memory + threads * EACH_THREAD + tensors * EACH_TENSOR
}
