/**
 * What an import of adapters keeps of the directory of `peft`, so that an export gives it back as it was: its configuration, and which ranks
 * of which stored adapter are the adapter of an HF matrix. Loaders do not ask for it.
 */
import { z } from "zod"
import { decodeWith, atPath } from "../document/decode.ts"
import { parseJson } from "../document/StrictJson.ts"
import type { AdapterPlan } from "./importDraft.ts"
import { ADAPTER_CONFIG } from "./peftConfig.ts"
import type { PeftDirectory } from "./PeftDirectory.ts"

/** The folder in an `iter_*` folder. */
export const ORIGIN = "hf_adapter"
export const RANKS_FILE = "ranks.json"

/** Every layer of every expert of a large model has a line. */
export const LARGEST_RANKS = 64 << 20

/** Of one HF tensor: where its ranks begin in the stored adapter, how many there are, and what its B was multiplied by. */
export interface OriginalRanks {
  readonly first: number
  readonly count: number
  readonly times: number
}

const schema = z.object({
  schema: z.literal(1),
  sharedOuter: z.literal("once").optional(),
  matrices: z.record(z.string(), z.object({ first: z.int().min(0), count: z.int().min(1), times: z.number().positive() }))
})

/** Ranks by HF tensor. */
export const readRanks = (path: string, bytes: Uint8Array): { readonly ranks: ReadonlyMap<string, OriginalRanks>; readonly sharedOuter?: "once" } => {
  const { matrices, sharedOuter } = decodeWith(schema, path, atPath(path, () => parseJson(bytes), bytes), bytes)
  return { ranks: new Map(Object.entries(matrices)), ...(sharedOuter ? { sharedOuter } : {}) }
}

/** The files of the folder. */
export const originOf = ({ configBytes }: PeftDirectory, { pairs, sharedOuter }: AdapterPlan, scale: number): ReadonlyArray<readonly [name: string, bytes: Uint8Array]> => {
  const matrices = Object.fromEntries(pairs.flatMap((pair) => pair.contributions.map(({ adapter: { rank, tensor }, first }) => [tensor, { first, count: rank, times: pair.scale / scale }])))
  return [[ADAPTER_CONFIG, configBytes], [RANKS_FILE, Buffer.from(JSON.stringify({ schema: 1, ...(sharedOuter ? { sharedOuter: "once" } : {}), matrices }))]]
}
