/** What an interrupted run left in a bucket: taken up, or given up. */
import type { BucketObject, S3Bucket } from "../../remote/s3/S3Bucket.ts"
import type { UploadState } from "../../remote/s3/S3Upload.ts"
import { eachOf } from "../../store/eachOf.ts"
import type { EarlierUploads } from "./UploadJournal.ts"

/** What makes a checkpoint valid is small and lies far up: the first to go. */
export const inOrderOfRemoval = (objects: ReadonlyMap<string, BucketObject>): ReadonlyArray<readonly [string, BucketObject]> =>
  [...objects].sort(([a, { size: m }], [b, { size: n }]) => a.split("/").length - b.split("/").length || m - n)

/** What is left of the uploads of an interrupted run: into `files` and `made`. Small objects of it are removed: they are put again. */
export const takeUp = async (bucket: S3Bucket, earlier: EarlierUploads, objects: Map<string, BucketObject>, files: Map<string, UploadState>, made: Map<string, string>): Promise<void> => {
  await eachOf(objects, async ([name, { etag }]) => {
    const state = earlier.files.get(name)
    if (earlier.made.get(name) !== etag && (await bucket.maker(name))?.run !== earlier.run) return
    if (state === undefined) {
      await bucket.remove(name, etag)
      objects.delete(name)
      return
    }
    state.done = etag
    files.set(name, state)
    made.set(name, etag)
  })
  await eachOf([...earlier.files.values()].filter(({ name }) => !made.has(name)), async (state) => {
    state.done = undefined
    const there = await bucket.parts(state.name, state.id!)
    // Somebody has aborted it: from the beginning.
    if (there === undefined) return
    for (const [number, { etag, size }] of state.parts) {
      const own = there.get(number)
      if (own?.etag !== etag || own.size !== size) state.parts.delete(number)
    }
    files.set(state.name, state)
  })
}

/** End the uploads of an earlier run, and remove the objects that it made. */
export const giveUp = async (bucket: S3Bucket, earlier: EarlierUploads, objects: Map<string, BucketObject>): Promise<void> => {
  for (const [name, { etag }] of inOrderOfRemoval(objects)) {
    if (earlier.run === undefined || (earlier.made.get(name) !== etag && (!earlier.files.has(name) || (await bucket.maker(name))?.run !== earlier.run))) continue
    await bucket.remove(name, etag)
    objects.delete(name)
  }
  await eachOf(earlier.files.values(), async ({ id, name }) => { if (id !== undefined) await bucket.abort(name, id) })
}
