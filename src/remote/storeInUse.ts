/**
 * Where models and checkpoints are read: the local disk and, by the scheme of their paths, the places that lie elsewhere; or another store
 * that is provided. A driver is loaded when the first path asks for it.
 */
import { Context, Effect } from "effect"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { generatedStore, isGenerated } from "../store/generated.ts"
import type { Store } from "../store/Store.ts"
import { isRemote } from "./place.ts"
import { Remote, type RemoteOptions } from "./RemoteOptions.ts"
import type { Traffic } from "./http/Client.ts"
import type { RemoteStores } from "./RemoteStores.ts"

/** Provide this to read from elsewhere; where something is written does not depend on it. */
export const OtherStore = Context.Reference<Store | undefined>("megatron-mimo/Store", { defaultValue: () => undefined })

/** The disk with everything else, and the drivers behind it once they are loaded. */
interface Everywhere {
  readonly store: Store
  readonly load: () => Promise<RemoteStores>
  /** Undefined: nothing was asked over a network. */
  readonly traffic: () => Readonly<Traffic> | undefined
}

const places = new WeakMap<DiskCalls, Map<string, Everywhere>>()

/** Whoever gets `disk` from here on finds the drivers of `other` behind it: a disk that behaves otherwise is no reason to ask the network again. */
export const sameElsewhere = (disk: DiskCalls, other: DiskCalls): void => {
  const known = places.get(other) ?? new Map<string, Everywhere>()
  places.set(other, known)
  places.set(disk, known)
}

/** What a driver was made with. */
const KEYS = [
  "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT",
  "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
]

/** The disk, and what is elsewhere, by path. */
const everywhere = (disk: DiskCalls, options: RemoteOptions): Everywhere => {
  const known = places.get(disk) ?? new Map<string, Everywhere>()
  places.set(disk, known)
  const key = JSON.stringify([options, ...KEYS.map((name) => process.env[name])])
  const store = known.get(key) ?? byPath(disk, options)
  known.set(key, store)
  return store
}

const byPath = (disk: DiskCalls, options: RemoteOptions): Everywhere => {
  let remote: Promise<RemoteStores> | undefined
  let loaded: RemoteStores | undefined
  const load = (): Promise<RemoteStores> => remote ??= import("./RemoteStores.ts").then(({ remoteStores }) => loaded = remoteStores(disk, options))
  const storeOf = async (path: string): Promise<Store> => (isGenerated(path) ? generatedStore : isRemote(path) ? (await load()).of(path) : disk)
  const store: Store = {
    list: async (path) => (await storeOf(path)).list(path),
    stat: async (path) => (await storeOf(path)).stat(path),
    lstat: async (path) => (await storeOf(path)).lstat(path),
    realpath: async (path) => (await storeOf(path)).realpath(path),
    open: async (path, mode, how) => (await storeOf(path)).open(path, mode, how),
    fileSystem: async (path) => (await storeOf(path)).fileSystem?.(path)
  }
  return { store, load, traffic: () => loaded?.client.traffic }
}

export const storeInUse: Effect.Effect<Store, never, Disk> = Effect.gen(function*() {
  return (yield* OtherStore) ?? everywhere(yield* Disk, yield* Remote).store
})

/** The drivers of what is elsewhere, for whoever writes there; loaded when they are asked for. */
export const remotesInUse: Effect.Effect<() => Promise<RemoteStores>, never, Disk> = Effect.gen(function*() {
  return everywhere(yield* Disk, yield* Remote).load
})

/** What goes over the network, for progress: asked again and again while work goes on. */
export const trafficInUse: Effect.Effect<() => Readonly<Traffic> | undefined, never, Disk> = Effect.gen(function*() {
  return everywhere(yield* Disk, yield* Remote).traffic
})
