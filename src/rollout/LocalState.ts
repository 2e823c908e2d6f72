/**
 * What a local copy of a model is: which version, and whether one is being applied to it. The file is where other receivers have it, and
 * they read the version in it as well.
 */
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { z } from "zod"
import { decodeJson } from "../document/decode.ts"
import type { DiskCalls } from "../io/Disk.ts"
import { makeFolders, writeSmall } from "../io/small.ts"
import { isMissing, present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { STATE_FILE, STATE_FOLDER, versionText } from "./names.ts"

const LARGEST_STATE = 16 << 20

const number = z.string().regex(/^\d{1,15}$/).transform(Number)

const stateSchema = z.object({
  version: number,
  state: z.string().regex(/^[0-9a-f]{32}$/).optional(),
  applying: number.optional(),
  files: z.record(z.string(), z.string()).optional()
})

export interface LocalState {
  readonly version: number
  /** Sum of the whole model; absent if another program has written it. */
  readonly state?: string | undefined
  /** The version that was begun to be applied: some tensors have it already, and some perhaps in part. */
  readonly applying?: number | undefined
  /** The files as they were left, by name: as long as they are still those, nobody has to read them to know what is in them. */
  readonly files?: Readonly<Record<string, string>> | undefined
}

export const encodeLocalState = ({ applying, files, state, version }: LocalState): Uint8Array =>
  Buffer.from(`${JSON.stringify({
    version: versionText(version),
    ...(state === undefined ? {} : { state }),
    ...(applying === undefined ? {} : { applying: versionText(applying) }),
    ...(files === undefined ? {} : { files })
  })}\n`)

/** Undefined: the directory is no copy of a version. @throws InvalidFile, IoError */
export const readLocalState = async (disk: DiskCalls, local: string): Promise<LocalState | undefined> => {
  const path = join(local, STATE_FOLDER, STATE_FILE)
  const bytes = await readSmall(disk, path, path, LARGEST_STATE).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  return bytes === undefined ? undefined : decodeJson(stateSchema, path, bytes)
}

/** Replace the state, durably: it is the old or the new one at any moment. */
export const writeLocalState = async (disk: DiskCalls, local: string, state: LocalState): Promise<void> => {
  const folder = join(local, STATE_FOLDER)
  const aside = join(folder, `${STATE_FILE}.new`)
  await makeFolders(disk, folder)
  if (await present(disk, aside)) await disk.remove(aside)
  await writeSmall(disk, aside, encodeLocalState(state))
  await disk.rename(aside, join(folder, STATE_FILE))
  await disk.syncDirectory(folder)
}

/** Clocks of file systems tick up to every ten milliseconds; some networks' only every few more. */
const TICK_MS = 50

/** Identities of files, taken when their last write lies a tick behind: what is written to them from now on shows. */
export const settledIdentities = async (disk: DiskCalls, files: Iterable<readonly [name: string, path: string]>): Promise<Readonly<Record<string, string>>> => {
  const paths = [...files]
  const newest = (await Promise.all(paths.map(([, path]) => disk.lstat(path)))).reduce((latest, { mtimeNs }) => Math.max(latest, Number(mtimeNs / 1_000_000n)), 0)
  await sleep(Math.max(0, Math.min(TICK_MS, newest + TICK_MS - Date.now())))
  return Object.fromEntries(await Promise.all(paths.map(async ([name, path]) => [name, (await disk.lstat(path)).identity] as const)))
}
