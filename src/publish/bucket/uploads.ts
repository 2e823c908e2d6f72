/** Uploads that nobody has finished: of runs that this machine remembers, and all that a bucket has below a prefix. */
import { join } from "node:path"
import { UsageError, quote } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { makeFolders } from "../../io/small.ts"
import { schemeOf } from "../../remote/place.ts"
import type { RemoteStores } from "../../remote/RemoteStores.ts"
import { present } from "../../store/present.ts"
import { discard } from "../staging/discard.ts"
import { awaitSilence, holderOf, Lock } from "../staging/Lock.ts"
import { JOURNAL, STAGING_NAME, stagingOf } from "../staging/names.ts"
import { giveUp } from "./earlier.ts"
import { anchorOf, stateDirectory } from "./place.ts"
import { readUploads } from "./UploadJournal.ts"

/** An upload that a bucket has, of which no object was made yet. It costs storage until it is completed or aborted. */
export interface UnfinishedUpload {
  readonly object: string
  /** ISO 8601, where the store says it. */
  readonly since?: string
  readonly parts: number
  readonly bytes: number
  /** A run that this machine remembers has begun it: `--resume` goes on with it. */
  readonly remembered: boolean
}

/** A run that this machine remembers, which has not published what it wrote. */
export interface RememberedRun {
  readonly target: string
  readonly uploadedBytes: number
  /** Its process runs now. */
  readonly running: boolean
}

export interface UploadsReport {
  /** Below which was looked; undefined: only runs that this machine remembers. */
  readonly place?: string
  readonly uploads: ReadonlyArray<UnfinishedUpload>
  readonly runs: ReadonlyArray<RememberedRun>
  /** They are gone now. */
  readonly aborted: boolean
}

const runAt = async (disk: DiskCalls, folder: string): Promise<RememberedRun | undefined> => {
  const { bytes, target } = await readUploads(disk, join(folder, JOURNAL))
  return target === undefined ? undefined : { target, uploadedBytes: bytes, running: await holderOf(disk, folder) !== undefined }
}

/** Runs that this machine remembers. Asks no network. */
export const rememberedRuns = async (disk: DiskCalls): Promise<UploadsReport> => {
  const directory = stateDirectory()
  const runs: Array<RememberedRun> = []
  for (const name of (await present(disk, directory)) === undefined ? [] : await disk.list(directory)) {
    const run = STAGING_NAME.test(name) ? await runAt(disk, join(directory, name)) : undefined
    if (run !== undefined) runs.push(run)
  }
  return { uploads: [], runs, aborted: false }
}

/** What is unfinished below a prefix of a bucket; with `abort`, it is removed. OutputRefused `output/locked` while a run writes there; IoError; UsageError. */
export const unfinishedUploads = async (disk: DiskCalls, remotes: RemoteStores, place: string, abort: boolean, signal?: AbortSignal): Promise<UploadsReport> => {
  if (schemeOf(place) !== "s3") throw new UsageError({ code: "usage/place", problem: `${quote(place)} is no place in a bucket`, hint: "s3://bucket/prefix is." })
  const bucket = remotes.s3.bucket(place)
  const anchor = anchorOf(place)
  const folder = stagingOf(anchor)
  const known = await readUploads(disk, join(folder, JOURNAL))
  const ids = new Set([...known.files.values()].map(({ id }) => id))
  const uploads: Array<UnfinishedUpload> = []
  const found = await bucket.unfinished()
  for (const { id, name, since } of found) {
    const parts = await bucket.parts(name, id)
    if (parts === undefined) continue
    uploads.push({ object: bucket.pathOf(name), ...(since === undefined ? {} : { since }), parts: parts.size, bytes: [...parts.values()].reduce((sum, { size }) => sum + size, 0), remembered: ids.has(id) })
  }
  const run = await runAt(disk, folder)
  if (abort) {
    await makeFolders(disk, stateDirectory())
    const lock = await Lock.acquire(disk, folder, place, await awaitSilence(disk, folder, place, signal ? { signal } : {}))
    try {
      await giveUp(bucket, await readUploads(disk, join(folder, JOURNAL)), new Map(await bucket.objects()))
      for (const { id, name } of found) await bucket.abort(name, id)
      await discard(disk, anchor, lock.identity)
    } finally {
      await lock.release()
    }
  }
  return { place, uploads, runs: run === undefined ? [] : [run], aborted: abort }
}
