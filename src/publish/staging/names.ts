/**
 * The hidden folder beside a target in which its next content is written:
 *
 * ```text
 * PARENT/
 *   NAME                    the target
 *   .NAME.partial/          lock, journal and everything else that must never be published
 *     staging.json          that this program made the folder, and who ran it (folder.ts)
 *     lock.N                who works on it (Lock.ts); the highest N counts
 *     journal               what is finished
 *     journal.RUN.RANK      what other processes of one run have finished
 *     orders.RUN            what they are to do, and where in it
 *     orders.RUN.index
 *     data/                 becomes NAME, by one rename
 *     commit                NAME is being replaced (swap.ts)
 *     replaced/             the former NAME during that
 *   .NAME.discarded.ID/     a former .NAME.partial on its way out
 * ```
 */
import { createHash } from "node:crypto"
import { basename, dirname, join } from "node:path"

/** Linux and most other file systems: bytes of one name. */
const LONGEST_NAME = 255
const AROUND = ".".length + ".discarded.".length + 36

/** The target's name, shortened where dots and suffixes would make it too long. */
const stem = (target: string): string => {
  const name = basename(target)
  return Buffer.byteLength(name) + AROUND <= LONGEST_NAME ? name : createHash("sha256").update(name).digest("hex")
}

export const stagingOf = (target: string): string => join(dirname(target), `.${stem(target)}.partial`)
export const discardedPrefix = (target: string): string => `.${stem(target)}.discarded.`

/** Beside a staging folder: the name that it has before it is whole and after it was given up. */
export const asideOf = (staging: string): string =>
  join(dirname(staging), basename(staging).replace(/partial$/, `discarded.${crypto.randomUUID()}`))

export const MARKER = "staging.json"
export const DATA = "data"
export const JOURNAL = "journal"
/** Of another process than the one that publishes; `run` has eight hexadecimal digits. */
export const journalOf = (run: string, rank: number): string => `${JOURNAL}.${run}.${rank}`
export const isJournal = (name: string): boolean => /^journal(\.[0-9a-f]{8}\.\d{1,9})?$/.test(name)
/** What rank 0 of one run tells the others to do. */
export const ordersOf = (run: string): string => `orders.${run}`
export const isOrders = (name: string): boolean => /^orders\.[0-9a-f]{8}(\.index)?$/.test(name)
export const COMMIT = "commit"
export const REPLACED = "replaced"

/** Folders of these names are ours if they have the marker. */
export const STAGING_NAME = /^\.(.+)\.(partial|discarded\.[0-9a-f-]{36})$/
