/** What does not fit together in a layout: the ranks of the run configuration, and those that wrote the files. */
import type { Inspection } from "../../inspect/Inspection.ts"
import { ranges } from "../../inspect/tree.ts"
import { recordedRanks } from "./ranksOf.ts"

/** A configuration may name any number of ranks. */
const MOST_RANKS = 100_000

/** Sentences, none if nothing is wrong. */
export const layoutWarnings = (i: Inspection): ReadonlyArray<string> => {
  const { files, model: { vocabulary } } = i
  const { layout } = recordedRanks(i)
  if (layout.length === 0) return []
  const out: Array<string> = []
  const spans = layout.map((l) => ({ ...l, end: l.rankOffset + l.tp * l.pp * l.cp * l.dp })).sort((a, b) => a.rankOffset - b.rankOffset)
  for (const [k, span] of spans.entries()) {
    const next = spans[k + 1]
    if (next && next.rankOffset < span.end) out.push(`${span.component} and ${next.component} share ranks: ${next.component} begins at rank ${next.rankOffset}, ${span.component} ends at ${span.end - 1}`)
    if (next && next.rankOffset > span.end) out.push(`ranks ${span.end} to ${next.rankOffset - 1} belong to no component`)
    if (vocabulary !== undefined && (layout.length === 1 || span.component === "language") && vocabulary % span.tp !== 0) {
      out.push(`a vocabulary of ${vocabulary} rows does not divide by tp=${span.tp} of ${span.component}: loaders pad it`)
    }
  }
  const world = spans.reduce((most, s) => Math.max(most, s.end), 0)
  const wrote = new Set(files.flatMap((f) => (f.rank === undefined ? [] : [f.rank])))
  const beyond = [...wrote].filter((rank) => rank >= world)
  if (beyond.length > 0) out.push(`files of the ranks ${ranges(beyond)} are there, the configuration has ${world} ranks: the checkpoint was saved under another layout, which loaders re-shard`)
  // Replicas of data and context parallelism write nothing of their own.
  if (world <= MOST_RANKS && spans.every((s) => s.dp * s.cp === 1)) {
    const silent = Array.from({ length: world }, (_, rank) => rank).filter((rank) => !wrote.has(rank))
    if (silent.length > 0 && wrote.size > 0) out.push(`no file is of the ranks ${ranges(silent)}, which the configuration has: the checkpoint was saved under another layout, which loaders re-shard`)
  }
  return out
}
