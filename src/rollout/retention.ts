/** Old versions go, but for what those that stay are built on. */
import { Effect } from "effect"
import { join } from "node:path"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { versionFolder } from "./names.ts"
import { listVersions, readVersion, type Version } from "./Version.ts"

/** In front of a folder that is on its way out: no receiver takes it for a version. */
const REMOVING = ".removing-"

/** Remove all but the newest `keep` versions and their bases, the oldest first. Returns what went. */
export const retain = Effect.fnUntraced(function*(root: string, keep: number) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const versions = yield* converting(() => listVersions(store, root))
  const kept = versions.slice(-keep)
  let [oldest] = kept
  while (oldest !== undefined) {
    const version: Version = yield* readVersion(root, oldest)
    if (version.kind === "full" || !versions.includes(version.base)) break
    oldest = version.base
  }
  const gone = versions.filter((version) => oldest !== undefined && version < oldest)
  yield* uninterruptibly(async () => {
    for (const name of await disk.list(root)) if (name.startsWith(REMOVING)) await disk.removeTree(join(root, name))
    for (const version of gone) {
      const aside = join(root, `${REMOVING}${versionFolder(version)}`)
      await disk.rename(join(root, versionFolder(version)), aside)
      await disk.removeTree(aside)
    }
    if (gone.length > 0) await disk.syncDirectory(root)
  })
  return gone as ReadonlyArray<number>
})
