/** Safetensors files and Hugging Face model directories as a {@link UnroutedSpace}. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { publishedEntry } from "./publishedWeights.ts"
import { CONFIG, openHfConfig } from "./HfSource.ts"
import { oneLine } from "../quote.ts"
import { reading } from "../io/attempt.ts"
import { openStoredWeights } from "./openStoredWeights.ts"
import type { UnroutedSpace } from "./OpenedSpace.ts"

/**
 * Open a `.safetensors` file, an index, or a directory with weights. Errors: those of `openSafetensors`, and those of a
 * directory's config.json (a file or an index is looked at without it).
 */
export const hfSpace = Effect.fnUntraced(function*(path: string, families?: FamilyRegistry) {
  const store = yield* storeInUse
  const hf = yield* openStoredWeights(path, families)
  const isDirectory = yield* reading(async () => (await store.stat(path)).kind === "directory")
  const names = isDirectory ? yield* reading(() => store.list(path)) : []
  const notes = [...hf.warnings]
  for (const file of hf.safetensors?.otherFiles ?? []) notes.push(`${file} lies beside the checkpoint and is not part of it`)
  // One that names no model is a config of something else; one that cannot be read means a damaged checkpoint.
  const config = names.includes(CONFIG) || publishedEntry(names) !== undefined
    ? yield* openHfConfig(path, families).pipe(
      Effect.catchIf((error) => error._tag === "InvalidFile" && error.code === "config/no-architecture", (error) =>
        Effect.sync(() => {
          notes.push(oneLine(error.message))
          return undefined
        }))
    )
    : undefined
  return {
    kind: "safetensors",
    path,
    directory: hf.directory,
    tensors: hf.tensors,
    objects: [],
    files: hf.files.map(({ file, size }) => ({ name: file, bytes: size })),
    notes,
    hf,
    ...(config ? { hfConfig: config } : {})
  } satisfies UnroutedSpace
})
