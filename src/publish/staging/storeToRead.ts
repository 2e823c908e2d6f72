/** The store that a path is read from. On the local disk, an interrupted replacement of what is there is finished first. */
import { Effect } from "effect"
import { reading } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { isRemote } from "../../remote/place.ts"
import { isGenerated } from "../../store/generated.ts"
import { OtherStore, storeInUse } from "../../remote/storeInUse.ts"
import { recoverToRead } from "./swap.ts"

/** Errors: those of {@link recoverToRead}. */
export const storeToRead = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  if (isRemote(path) || isGenerated(path) || (yield* OtherStore)) return store
  const disk = yield* Disk
  yield* reading(() => recoverToRead(disk, path))
  return store
})
