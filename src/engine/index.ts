/**
 * The engine: runs copies between files in bounded memory, at the speed of disks. It is given arrays in files, arrays to be assembled from
 * them, and what to do with these: write them as files, stream, compare or hash them. It knows nothing of models or formats. What stands
 * in `internal/` is used here only.
 */
export { Arena, PAGE } from "./internal/Arena.ts"
export { type ArrayDone } from "./internal/Assembly.ts"
export { type Compared, compare, type Comparison } from "./internal/compare.ts"
export { directorySink } from "./internal/directorySink.ts"
export { type ArrayDigest, digest } from "./internal/digest.ts"
export { excerptsOf } from "./internal/excerpt.ts"
export { execute, type ExecuteOptions, type ExecutionReport } from "./internal/execute.ts"
export { type OpenSeal } from "./internal/OpenSeal.ts"
export { type ResumeRecord, type WindowRecord, type WrittenWindow } from "./internal/ResumeRecord.ts"
export { recordingIo } from "./internal/rememberedIo.ts"
export { type ObservedIo } from "./internal/IoWays.ts"
export { CELL, lengthOf, type Portion, portionsOf } from "./internal/portion.ts"
export { closeSeals, type OpenWindow } from "./internal/seals.ts"
export { type EngineError } from "./internal/session.ts"
export { ENGINE_BOUNDS, ENGINE_DEFAULTS, type EngineLimits, type EngineOptions, type Settings, settingsOf, threadsToCompute } from "./internal/Settings.ts"
export { slotBytes } from "./internal/Slot.ts"
export { type ArrayChunk, stream, type StreamOptions } from "./internal/stream.ts"
export { adjusted, type Excerpt, type Segment, type SourceArray, type SourceCopy, type TargetArray, type TargetFile } from "./internal/Target.ts"
export { wholeFile } from "./internal/wholeFile.ts"
export { joined, type RangeSum, SUM_BLOCK, sumsOf } from "./internal/WindowSums.ts"
