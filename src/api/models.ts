/** Which models are known, and how that is known. */
import { verified } from "../../routes/verified.ts"
import type { Support } from "../bridge/Support.ts"

export { type Support, verification } from "../bridge/Support.ts"

/** Every supported architecture, and how it is verified. */
export const supported: ReadonlyArray<Support> = verified

/** Python classes that a run configuration may name. */
export const knownProviders: ReadonlyArray<string> = verified.flatMap((v) => v.providers)
