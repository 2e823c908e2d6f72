/**
 * Which staging folders are ours. A name alone makes no folder ours: a link would be followed to somebody's data, and a folder
 * that another program made would be emptied. So it is created with a marker in it, in one step; a folder without one, a link, or
 * one that holds what this program never puts there, is refused and left alone.
 */
import { join } from "node:path"
import { z } from "zod"
import { decodeJson } from "../../document/decode.ts"
import { InvalidFile, OutputRefused, quote } from "../../errors.ts"
import type { DiskCalls, FileInfo } from "../../io/Disk.ts"
import { type Owner, ownerSchema, thisProcess } from "./owner.ts"
import { hasErrno, present } from "../../store/present.ts"
import { writeSmall } from "../../io/small.ts"
import { readSmall } from "../../store/readSmall.ts"
import { asideOf, COMMIT, DATA, isJournal, isOrders, MARKER, REPLACED } from "./names.ts"

const markerSchema = z.object({ program: z.literal("megatron-mimo-bridge"), staging: z.literal(1), owner: ownerSchema })
const LARGEST_MARKER = 4096

/** A folder by its identity, whatever its name is. */
export type FolderIdentity = Pick<FileInfo, "dev" | "ino">

export const isSameFolder = (a: FolderIdentity | undefined, b: FolderIdentity): boolean => a?.dev === b.dev && a.ino === b.ino

/** What may be in it, and as what. */
const kindOf = (name: string): FileInfo["kind"] | "any" | undefined => {
  if (name === DATA || name === REPLACED) return "directory"
  if (name === MARKER || isJournal(name) || isOrders(name) || name === COMMIT || name === `${COMMIT}.new` || /^lock\.(\d{1,9}|[0-9a-f-]{36}\.new)$/.test(name)) return "file"
  // NFS keeps removed files that are open by such names.
  return name.startsWith(".nfs") ? "any" : undefined
}

/** Names that this program never puts into a staging folder; they are never removed. */
export const isForeign = (name: string): boolean => kindOf(name) === undefined

export type Standing =
  | { readonly is: "absent" | "empty" }
  | { readonly is: "ours"; readonly folder: FolderIdentity; readonly maker: Owner }
  | { readonly is: "foreign"; readonly why: string }

const foreign = (why: string): Standing => ({ is: "foreign", why })

/** Whose folder that is. Follows no link. */
export const standingOf = async (disk: DiskCalls, folder: string): Promise<Standing> => {
  const found = await present(disk, folder)
  if (!found) return { is: "absent" }
  if (found.kind === "link") return foreign("is a symbolic link")
  if (found.kind !== "directory") return foreign("is not a directory")
  const names = await disk.list(folder)
  if (names.length === 0) return { is: "empty" }
  if (!names.includes(MARKER)) return foreign("was not made by this version of this program")
  for (const name of names) {
    const kind = kindOf(name)
    const own = kind === "any" ? undefined : await present(disk, join(folder, name))
    if (kind === undefined) return foreign(`holds ${quote(name)}, which this program did not put there`)
    if (own && own.kind !== kind) return foreign(`holds ${quote(name)} as ${own.kind === "link" ? "a symbolic link" : `no ${kind}`}, which this program did not put there`)
  }
  const path = join(folder, MARKER)
  try {
    const { owner } = decodeJson(markerSchema, path, await readSmall(disk, path, path, LARGEST_MARKER))
    return { is: "ours", folder: found, maker: owner }
  } catch (error) {
    if (error instanceof InvalidFile) return foreign("was not made by this version of this program")
    throw error
  }
}

/** OutputRefused `output/foreign-staging` if it is somebody else's. */
export const requireOurs = async (disk: DiskCalls, folder: string, target: string): Promise<Exclude<Standing, { is: "foreign" }>> => {
  const standing = await standingOf(disk, folder)
  if (standing.is !== "foreign") return standing
  throw new OutputRefused({
    path: target,
    code: "output/foreign-staging",
    problem: `the work for it would be done in ${quote(folder)}, which ${standing.why}; it was left alone`,
    hint: "Look at what it is, then move or remove it; or name another target."
  })
}

/**
 * Create the folder with its marker. It gets its name when it is whole, so that no crash leaves one without. False: there is one
 * already, with something in it.
 */
export const createFolder = async (disk: DiskCalls, folder: string): Promise<boolean> => {
  const made = asideOf(folder)
  await disk.makeDirectory(made)
  try {
    const marker = { program: "megatron-mimo-bridge", staging: 1, owner: thisProcess() } satisfies z.infer<typeof markerSchema>
    await writeSmall(disk, join(made, MARKER), Buffer.from(`${JSON.stringify(marker)}\n`))
    await disk.syncDirectory(made)
    await disk.rename(made, folder)
    return true
  } catch (error) {
    await disk.removeTree(made).catch(() => {})
    if (hasErrno(error, "ENOTEMPTY", "EEXIST", "ENOTDIR")) return false
    throw error
  }
}

/** The folder of a target by that path is still this one. */
export const isStill = async (disk: DiskCalls, folder: string, identity: FolderIdentity): Promise<boolean> => {
  const now = await present(disk, folder)
  return now?.kind === "directory" && isSameFolder(now, identity)
}


/** Was it being created when the power failed? Then there is a marker in it without content, and nothing else. */
export const isUnborn = async (disk: DiskCalls, folder: string): Promise<boolean> => {
  const path = join(folder, MARKER)
  const names = (await present(disk, folder))?.kind === "directory" ? await disk.list(folder) : []
  if (names.length !== 1 || names[0] !== MARKER || (await present(disk, path))?.kind !== "file") return false
  return (await readSmall(disk, path, path, LARGEST_MARKER)).every((byte) => byte === 0)
}

/** Remove a folder that was just created, unless somebody put something into it. */
export const removeCreated = async (disk: DiskCalls, folder: string, identity: FolderIdentity): Promise<void> => {
  const aside = asideOf(folder)
  await disk.rename(folder, aside)
  const names = await disk.list(aside)
  if (names.every((name) => name === MARKER) && await isStill(disk, aside, identity)) await disk.removeTree(aside)
  else await disk.rename(aside, folder)
}
