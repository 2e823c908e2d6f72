/** What is known of the state that a delta is made against, without reading it: the sums that its version says of every tensor. */
import { Effect, Option } from "effect"
import { openDelta } from "./applyVersion.ts"
import { CHECKSUM, Hashers } from "./checksums.ts"
import type { RolloutSource } from "./source.ts"
import { readVersion, type Version } from "./Version.ts"

/**
 * One sum of the files that a version was made from: their names, and which they are as last written. Where it is the same again, they hold
 * what the version says. Undefined for a Megatron checkpoint: what its tensors are also depends on who makes them of it.
 */
export const filesSum = async (source: RolloutSource): Promise<string | undefined> => {
  if (source.kind !== "hf") return undefined
  const lines = source.shards.map(({ identity, name }) => `${JSON.stringify([name, identity])}\n`)
  return new Hashers().of(Buffer.from(lines.sort().join("")))
}

/** The sums of all tensors in a version, as far as it and those of `versions` that it is built on say them. */
export const tensorSums = Effect.fnUntraced(function*(root: string, newest: Version, versions: ReadonlyArray<number>) {
  const sums = new Map<string, string>()
  const add = (name: string, sum: string | undefined): void => { if (sum !== undefined && !sums.has(name)) sums.set(name, sum) }
  let at = newest
  while (at.kind === "delta") {
    // One that cannot be read says nothing; it is read to be applied elsewhere.
    const opened = Option.getOrElse(yield* Effect.option(openDelta(at)), () => undefined)
    if (at.checksum !== CHECKSUM || (opened === undefined && Object.keys(at.weightMap).length > 0)) return new Map<string, string>()
    for (const { name, shard } of opened?.tensors.values() ?? []) add(name, opened!.shards[shard]!.metadata?.get(name))
    if (!versions.includes(at.base)) return sums
    at = yield* readVersion(root, at.base)
  }
  for (const [name, sum] of Object.entries(at.checksums ?? {})) add(name, sum)
  return sums
})
