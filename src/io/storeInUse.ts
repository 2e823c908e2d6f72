/** Where models and checkpoints are read: the local disk, unless another store is provided. */
import { Context, Effect } from "effect"
import type { Store } from "../store/Store.ts"
import { Disk } from "./Disk.ts"

/** Provide this to read from elsewhere; what is written is on the local disk all the same. */
export const OtherStore = Context.Reference<Store | undefined>("megatron-mimo/Store", { defaultValue: () => undefined })

export const storeInUse: Effect.Effect<Store, never, Disk> = Effect.gen(function*() {
  return (yield* OtherStore) ?? (yield* Disk)
})
