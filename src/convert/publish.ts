/**
 * Atomic publishing. Everything is written into a hidden staging folder beside the target and becomes visible by one rename
 * of the whole folder; until then nothing at the target looks like a checkpoint, and a failure removes the staging folder.
 * The staging folder is also the lock: a second process finds it and is told who holds it.
 */
import { Effect, type Scope } from "effect"
import { hostname } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { z } from "zod"
import { decodeJson } from "../document/decode.ts"
import { type BridgeError, InvalidFile, IoError, NoSpace, OutputRefused, quote } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { readSmall, writeSmall } from "../io/small.ts"

export interface PublishOptions {
  /** Replace an existing target, at the moment of the commit. */
  readonly overwrite: boolean
  /** Bytes that will be written. */
  readonly size: number
}

/** Room for directories, metadata and rounding to blocks, on top of the payload. */
const SPARE_BYTES = 16 << 20
const OWNER = ".owner.json"

const ownerSchema = z.object({ pid: z.int().positive(), host: z.string().max(255), started: z.string().max(64) })
type Owner = z.infer<typeof ownerSchema>

export const stagingOf = (target: string): string => join(dirname(target), `.${basename(target)}.partial`)
const replacedOf = (target: string): string => join(dirname(target), `.${basename(target)}.replaced`)

const kindOf = async (disk: DiskCalls, path: string): Promise<"absent" | "empty" | "file" | "directory"> => {
  try {
    const info = await disk.lstat(path)
    if (info.kind !== "directory") return "file"
    return (await disk.list(path)).length === 0 ? "empty" : "directory"
  } catch (error) {
    if (error instanceof IoError && error.errno === "ENOENT") return "absent"
    throw error
  }
}

const isAlive = (owner: Owner): boolean => {
  if (owner.host !== hostname()) return true
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

const ownerOf = async (disk: DiskCalls, staging: string): Promise<Owner | undefined> => {
  const path = join(staging, OWNER)
  try {
    return decodeJson(ownerSchema, path, await readSmall(disk, path, path, 4096))
  } catch (error) {
    if (error instanceof InvalidFile || error instanceof IoError) return undefined
    throw error
  }
}

/** Take the staging folder, or say who has it. What a dead process left behind is removed. */
const acquire = async (disk: DiskCalls, target: string, staging: string): Promise<void> => {
  try {
    await disk.makeDirectory(staging)
  } catch (error) {
    if (!(error instanceof IoError) || error.errno !== "EEXIST") throw error
    const owner = await ownerOf(disk, staging)
    if (owner && isAlive(owner)) {
      throw new OutputRefused({
        path: target,
        problem: `process ${owner.pid} on ${quote(owner.host)} has been writing it since ${owner.started}`,
        hint: `If that process is gone, remove ${quote(staging)}.`
      })
    }
    await disk.removeTree(staging)
    await disk.makeDirectory(staging)
  }
  const owner: Owner = { pid: process.pid, host: hostname(), started: new Date().toISOString() }
  await writeSmall(disk, join(staging, OWNER), Buffer.from(JSON.stringify(owner)))
}

const makeParents = async (disk: DiskCalls, directory: string): Promise<void> => {
  try {
    if ((await disk.stat(directory)).kind !== "directory") {
      throw new OutputRefused({ path: directory, problem: "is not a directory" })
    }
  } catch (error) {
    if (!(error instanceof IoError) || error.errno !== "ENOENT") throw error
    if (dirname(directory) === directory) throw error
    await makeParents(disk, dirname(directory))
    await disk.makeDirectory(directory)
  }
}

/**
 * Write a directory and publish it as `target`. `write` fills the staging folder it is given and makes its files durable.
 * An existing, non-empty target is refused unless `overwrite` is set.
 */
export const publish = <A, E extends BridgeError, R>(
  target: string,
  options: PublishOptions,
  write: (staging: string) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | BridgeError, R | Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const disk = yield* Disk
    const path = resolve(target)
    const staging = stagingOf(path)
    const found = yield* attempt(() => kindOf(disk, path))
    if (found === "file" || (found === "directory" && !options.overwrite)) {
      return yield* new OutputRefused({
        path: target,
        problem: found === "file" ? "exists and is not a directory" : "exists and is not empty",
        ...(found === "directory" ? { hint: "--overwrite replaces it once the new one is complete" } : {})
      })
    }
    yield* attempt(() => makeParents(disk, dirname(path)))
    const free = yield* attempt(() => disk.freeSpace(dirname(path)))
    if (free < options.size + SPARE_BYTES) return yield* new NoSpace({ path: target, needed: options.size + SPARE_BYTES, free })
    yield* held(disk, path, staging)
    const result = yield* write(staging)
    yield* Effect.uninterruptible(attempt(async () => {
      await disk.remove(join(staging, OWNER))
      await disk.syncDirectory(staging)
      const replaced = replacedOf(path)
      if (found === "directory") {
        await disk.removeTree(replaced)
        await disk.rename(path, replaced)
      }
      await disk.rename(staging, path)
      await disk.syncDirectory(dirname(path))
      if (found === "directory") await disk.removeTree(replaced)
    }))
    return result
  }))

/** The staging folder for the life of the scope; gone afterwards, whether it was published or not. */
const held = (disk: DiskCalls, target: string, staging: string): Effect.Effect<void, BridgeError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt(() => acquire(disk, target, staging)),
    () => Effect.promise(() => disk.removeTree(staging).catch(() => {}))
  )
