/** Entries of a module as those of the same module elsewhere. */
import type { Entry } from "./Parameter.ts"

/** Put what stands below `from` below `to`; both empty or ending in a dot. */
export const reroot = (entry: Entry, from: string, to: string): Entry =>
  entry.kind === "state"
    ? { ...entry, key: to + entry.key.slice(from.length) }
    : {
      ...entry,
      name: to + entry.name.slice(from.length),
      parts: entry.parts.map((part) => ({ ...part, key: to + part.key.slice(from.length) }))
    }
