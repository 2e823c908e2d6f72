/** How the engine runs where nothing is said. */
export { ENGINE_DEFAULTS, type EngineLimits } from "../engine/index.ts"
