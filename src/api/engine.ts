/** How the engine runs where nothing is said, and what may be said. */
export { ENGINE_BOUNDS, ENGINE_DEFAULTS, type EngineLimits } from "../engine/index.ts"
