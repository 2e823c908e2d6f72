/** The weights of a Hugging Face directory, in whichever of their forms: by the names of the files, never by trying. */
import { Effect } from "effect"
import { reading } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { openSafetensors } from "../safetensors/SafetensorsDirectory.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { present } from "../store/present.ts"
import { openPickledWeights, pickledEntry } from "./pickledWeights.ts"
import { openPublished } from "./publishedWeights.ts"
import type { ReadError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { assemblyAt } from "./Assembly.ts"
import { joinedWeights, type PartWeights, type StoredWeights, storedWeights } from "./StoredWeights.ts"

/**
 * Open a directory, a `.safetensors` file or an index. Pickled weights (`pytorch_model.bin`, `pytorch_model.bin.index.json`) are read
 * where a directory has no safetensors files; a publisher's own form as that of transformers, where `families` know how. Errors: those of `openSafetensors`, of which `safetensors/no-weights` is for a
 * directory with neither; those of pickled files.
 */
export const openStoredWeights = Effect.fnUntraced(function*(path: string, families?: FamilyRegistry): Effect.fn.Return<StoredWeights, ReadError, Disk> {
  const assembly = assemblyAt(path)
  if (!assembly) return yield* ownStoredWeights(path, families)
  const parts: Array<PartWeights> = []
  for (const part of assembly.parts) parts.push({ part, weights: yield* ownStoredWeights(part.path) })
  return joinedWeights(path, parts)
})

const ownStoredWeights = Effect.fnUntraced(function*(path: string, families?: FamilyRegistry) {
  const store = yield* storeInUse
  const published = families && (yield* openPublished(families, path))
  if (published) return published.weights
  const pickled = yield* reading(async () => ((await present(store, path))?.kind === "directory" ? pickledEntry(await store.list(path)) : undefined))
  const opened = yield* openSafetensors(path).pipe(Effect.map(storedWeights), Effect.catchIf(
    (error) => pickled !== undefined && error._tag === "InvalidFile" && error.code === "safetensors/no-weights",
    () => reading(() => openPickledWeights(store, path, pickled!))
  ))
  if (pickled === undefined || opened.safetensors === undefined) return opened
  return { ...opened, warnings: [...opened.warnings, `${pickled} lies beside the safetensors files, which are the ones that are read`] }
})
