/** A training folder, watched: whatever its tracker names next. */
import { Effect } from "effect"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { listVersions, readVersion } from "./Version.ts"

/** The iteration that the trackers of a folder name, as its path; undefined: none that is complete yet. */
export const trackedIteration = (folder: string) =>
  openCheckpoint(folder).pipe(
    Effect.map(({ directory }) => directory as string | undefined),
    // A trainer that is just writing its tracker, or has not written any yet.
    Effect.catchIf((error) => error._tag === "InvalidFile", () => Effect.succeed(undefined))
  )

/** What the newest version was made from. */
export const newestSource = Effect.fnUntraced(function*(root: string) {
  const store = yield* storeInUse
  const newest = (yield* converting(() => listVersions(store, root))).at(-1)
  return newest === undefined ? undefined : (yield* readVersion(root, newest)).source
})
