/** Open whatever is at a path: decided by what is there, never by trying one reader after another. */
import { Effect } from "effect"
import { basename } from "node:path"
import { isOfRanks } from "../checkpoint/legacy/rankFolders.ts"
import { BACKEND, iterationOf, METADATA, TRACKER, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { InvalidFile, type ReadError } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { existing } from "../store/existing.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { nestedCheckpoint, recogniseFiles } from "../recognise/files.ts"
import { refusal } from "../recognise/Recognised.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { archiveSpace } from "./archiveFile.ts"
import { withComponents } from "./components.ts"
import { hfSpace } from "./hfSpace.ts"
import { itemSpace } from "./itemFile.ts"
import { megatronSpace } from "./megatronSpace.ts"
import { pickledEntry } from "./pickledWeights.ts"
import type { OpenedSpace, SpaceKind, UnroutedSpace } from "./OpenedSpace.ts"

const byName = (path: string): SpaceKind | undefined => {
  if (/\.safetensors(\.index\.json)?$/.test(path)) return "safetensors"
  if (path.endsWith(".distcp")) return "items"
  return /\.(pt|pth|bin|ckpt)$/.test(path) ? "archive" : undefined
}

/** What kind of space a path is. Errors: InvalidFile `inspect/unknown`, Unsupported for formats that are known by sight only. */
export const kindOfPath = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeToRead(path)
  return yield* reading(async (): Promise<SpaceKind> => {
    const { kind } = await existing(store, path)
    if (kind === "other") throw new InvalidFile({ path, code: "file/not-regular", problem: "is a pipe, a socket or a device, not a file" })
    if (kind !== "directory") {
      const byItsName = byName(path)
      if (byItsName) return byItsName
      const known = recogniseFiles([basename(path)])
      if (known) throw refusal(path, known)
      throw new InvalidFile({ path, code: "inspect/unknown", problem: "is neither .safetensors, .distcp nor a torch.save file (.pt, .pth, .bin)" })
    }
    const names = await store.list(path)
    const megatron = names.some((name) =>
      name === METADATA || name === BACKEND || name === TRACKER || name === TRAIN_STATE_TRACKER || iterationOf(name) !== undefined || isOfRanks(name))
    if (megatron || nestedCheckpoint(names) !== undefined) return "megatron"
    if (names.some((name) => name.endsWith(".safetensors") || name.endsWith(".safetensors.index.json")) || pickledEntry(names) !== undefined) return "safetensors"
    const found = recogniseFiles(names)
    if (found) throw refusal(path, found)
    throw new InvalidFile({
      path,
      code: "inspect/unknown",
      problem: "holds no checkpoint: no *.safetensors, no .metadata, no iter_* folder",
      hint: "Name a directory with weights, an iter_* folder, or a single file."
    })
  })
})

const unrouted = (path: string, families: FamilyRegistry | undefined): Effect.Effect<UnroutedSpace, ReadError, Disk> =>
  Effect.gen(function*() {
    switch (yield* kindOfPath(path)) {
      case "safetensors": return yield* hfSpace(path, families)
      case "items": return yield* itemSpace(path)
      case "archive": return yield* archiveSpace(path)
      case "megatron": return yield* megatronSpace(path)
    }
  })

/** Open a space, headers only. `families`: who says which component of the model a tensor belongs to, before its name does. */
export const openSpace = (path: string, families?: FamilyRegistry): Effect.Effect<OpenedSpace, ReadError, Disk> =>
  Effect.map(unrouted(path, families), (space) => withComponents(space, families))
