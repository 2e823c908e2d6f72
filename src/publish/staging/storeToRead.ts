/** The store that a path is read from. On the local disk, an interrupted replacement of what is there is finished first. */
import { Effect } from "effect"
import { reading } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { OtherStore } from "../../io/storeInUse.ts"
import type { Store } from "../../store/Store.ts"
import { recoverToRead } from "./swap.ts"

/** Errors: those of {@link recoverToRead}. */
export const storeToRead = Effect.fnUntraced(function*(path: string) {
  const other = yield* OtherStore
  if (other) return other
  const disk = yield* Disk
  yield* reading(() => recoverToRead(disk, path))
  return disk as Store
})
