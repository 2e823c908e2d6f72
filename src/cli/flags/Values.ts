import type { Flag } from "effect/cli"

/** What a bundle of flags gives: the value of each. */
export type Values<Bundle> = { readonly [Name in keyof Bundle]: Bundle[Name] extends Flag.Flag<infer Value> ? Value : never }
