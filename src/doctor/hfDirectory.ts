/** Ailments of a Hugging Face directory: an index and shards that disagree, a config.json that nothing answers to. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { prepareImport } from "../convert/prepareImport.ts"
import { CONFIG, openHfConfig } from "../space/HfSource.ts"
import { type BridgeError, FormatError, InvalidFile, quote, some, Unsupported } from "../errors.ts"
import { findings } from "../inspect/findings.ts"
import { hfSpace } from "../space/hfSpace.ts"
import { modelFacts } from "../inspect/modelFacts.ts"
import { oneLine } from "../quote.ts"
import { reading } from "../io/attempt.ts"
import type { Store } from "../store/Store.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { standardLayout } from "../parallel/Layout.ts"
import { absentShards } from "../safetensors/absentShards.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { parseIndex, shardsOf } from "../safetensors/ShardIndex.ts"
import { adviceFor } from "./advice.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

const LARGEST_INDEX = 100_000_000

/** Shards that the index names and that are not there, all of them. */
const missingShards = async (store: Store, directory: string): Promise<ReadonlyArray<Diagnosis>> => {
  const path = join(directory, INDEX_NAME)
  if (!(await present(store, path))) return []
  try {
    const index = parseIndex(await readSmall(store, path, path, LARGEST_INDEX))
    const out: Array<Diagnosis> = []
    const shards = shardsOf(index)
    const tensorsOf = Map.groupBy(index.weightMap.keys(), (name) => index.weightMap.get(name)!)
    const listed = new Set(shards)
    const unlisted = (await store.list(directory)).filter((name) => name.endsWith(".safetensors") && !listed.has(name))
    const fix = unlisted.length === 0
      ? "Download that file again."
      : `${some(unlisted, 3)} ${unlisted.length === 1 ? "is" : "are"} there, which the index does not name: it is an index of another numbering. Take the one that belongs to these files.`
    for (const shard of await absentShards(store, directory, shards)) {
      const tensors = tensorsOf.get(shard) ?? []
      out.push(diagnosis("error", "absent-shard", `${INDEX_NAME} places ${tensors.length} tensors in ${quote(shard)}, which is not there`, { fix, names: tensors }))
    }
    return out
  } catch (error) {
    // The reader says it better.
    if (error instanceof FormatError) return []
    throw error
  }
}

const fromError = (error: BridgeError, severity: "error" | "warning" = "error"): Diagnosis => {
  const names = error._tag === "PlanRefused" ? error.names : undefined
  return diagnosis(severity, error.code.replace("/", "-"), oneLine(error.summary), { fix: oneLine(adviceFor(error)), ...(names ? { names } : {}) })
}

/** config.json: missing, not readable, without architectures, or of a model that no family answers to. */
const examineConfig = Effect.fnUntraced(function*(families: FamilyRegistry, path: string) {
  const config = yield* openHfConfig(path, families).pipe(Effect.catchTags({
    InvalidFile: (error) => Effect.succeed(error),
    Unsupported: (error) => Effect.succeed(error)
  }))
  if (config instanceof InvalidFile && config.code === "file/missing") {
    return { found: [diagnosis("warning", "no-config", `${CONFIG} is missing, so nothing says which model this is`, { fix: "Download config.json of the model." })] }
  }
  if (config instanceof InvalidFile || config instanceof Unsupported) return { found: [fromError(config)] }
  const family = yield* reading(() => families.find(config.json)).pipe(Effect.catchTag("Unsupported", (error) => Effect.succeed(error)))
  if (family instanceof Unsupported) {
    const hint = family.hint === undefined ? "" : ` ${family.hint.split("\n")[0]}`
    return { found: [diagnosis("warning", "no-family", `no family answers to ${quote(config.architecture)}`, { fix: `scaffold writes a starter file for a new one.${hint}` })] }
  }
  return { family, found: [diagnosis("ok", "family", `${quote(config.architecture)} is converted by the family ${family.name}`)] }
})

/** What an import into one rank would refuse: names, shapes, config. Headers only. */
const examineAsImport = (families: FamilyRegistry, path: string) =>
  prepareImport(families, path, { form: "standard", layout: () => standardLayout({}), torchDtype: "source", mtp: "keep", allowUnmapped: [], step: 0 }).pipe(
    Effect.map((): ReadonlyArray<Diagnosis> => []),
    Effect.catch((error) => error._tag === "IoError" || error._tag === "NoSpace" ? Effect.fail(error) : Effect.succeed([fromError(error)]))
  )

/** Examine a directory (or file) of safetensors. */
export const examineHf = Effect.fnUntraced(function*(families: FamilyRegistry, path: string) {
  const store = yield* storeInUse
  const isDirectory = yield* reading(async () => (await store.stat(path)).kind === "directory")
  const absent = isDirectory ? yield* reading(() => missingShards(store, path)) : []
  if (absent.length > 0) return absent
  const config = isDirectory ? yield* examineConfig(families, path) : { found: [] }
  const space = yield* hfSpace(path, families).pipe(Effect.catchTags({
    InvalidFile: (error) => Effect.succeed(error),
    Unsupported: (error) => Effect.succeed(error)
  }))
  if (space instanceof InvalidFile || space instanceof Unsupported) {
    const found = fromError(space)
    return [found, ...config.found.filter((d) => d.text !== found.text)]
  }
  const refused = "family" in config ? yield* examineAsImport(families, path) : []
  // What keeps it from being converted is told once, as that.
  const told = new Set(refused.length > 0 ? ["vocabulary", "no-head"] : [])
  return [
    ...refused,
    ...config.found,
    ...space.notes.filter((note) => !config.found.some(({ text }) => note.startsWith(text))).map((note) => diagnosis("note", "note", note)),
    ...findings(space, modelFacts(space)).filter(({ code }) => !told.has(code) && !(refused.length > 0 && code.startsWith("recognised-"))).map(({ code, names, text }) =>
      diagnosis("note", code, `${text}${names.length > 0 ? `: ${some(names, 2)}` : ""}`, { names }))
  ] as ReadonlyArray<Diagnosis>
})
