/** How the engine runs where nothing is said, what may be said, and what it finds out about file systems. */
export { ENGINE_BOUNDS, ENGINE_DEFAULTS, type EngineLimits, IoRecord, IoRecordInUse, rememberedIo, rememberIo } from "../engine/index.ts"
