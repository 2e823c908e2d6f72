/** Ailments of a Hugging Face directory: an index and shards that disagree, a config.json that nothing answers to. */
import { Effect } from "effect"
import { join } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { CONFIG } from "../convert/HfSource.ts"
import { FormatError, isBridgeError, quote, some } from "../errors.ts"
import { findings } from "../inspect/findings.ts"
import { hfSpace } from "../inspect/hfSpace.ts"
import { modelFacts } from "../inspect/modelFacts.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { present } from "../io/present.ts"
import { readSmall } from "../io/small.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { parseIndex, shardsOf } from "../safetensors/ShardIndex.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

const LARGEST_INDEX = 100_000_000

/** Shards that the index names and that are not there, all of them. */
const absentShards = async (disk: DiskCalls, directory: string): Promise<ReadonlyArray<Diagnosis>> => {
  const path = join(directory, INDEX_NAME)
  if (!(await present(disk, path))) return []
  try {
    const index = parseIndex(await readSmall(disk, path, path, LARGEST_INDEX))
    const out: Array<Diagnosis> = []
    for (const shard of shardsOf(index)) {
      if (await present(disk, join(directory, shard))) continue
      const tensors = [...index.weightMap].filter(([, file]) => file === shard).map(([name]) => name)
      out.push(diagnosis("error", "absent-shard", `${INDEX_NAME} places ${tensors.length} tensors in ${quote(shard)}, which is not there`, { fix: "Download that file again.", names: tensors }))
    }
    return out
  } catch (error) {
    // The reader says it better.
    if (error instanceof FormatError) return []
    throw error
  }
}

/** Examine a directory (or file) of safetensors. */
export const examineHf = Effect.fnUntraced(function*(families: FamilyRegistry, path: string) {
  const disk = yield* Disk
  const isDirectory = yield* attempt(async () => (await disk.stat(path)).kind === "directory")
  const absent = isDirectory ? yield* attempt(() => absentShards(disk, path)) : []
  if (absent.length > 0) return absent
  const space = yield* hfSpace(path).pipe(Effect.catchTag("InvalidFile", (error) => Effect.succeed(error)))
  if (!("kind" in space)) {
    return [diagnosis("error", space.code.replace("/", "-"), space.message, {
      fix: "Download the file again; transformers would load random values for what it does not find."
    })]
  }
  const out: Array<Diagnosis> = space.notes.map((note) => diagnosis("note", "note", note))
  if (isDirectory && !space.hfConfig) {
    out.push(diagnosis("warning", "no-config", `${CONFIG} is missing or unreadable, so nothing says which model this is`, { fix: "Download config.json of the model." }))
  }
  const { hfConfig } = space
  if (hfConfig) {
    const family = yield* attempt(() => families.find(hfConfig.json)).pipe(Effect.catch((error) => Effect.succeed(isBridgeError(error) ? error : undefined)))
    out.push(family && "schema" in family
      ? diagnosis("ok", "family", `${hfConfig.architecture} is converted by the family ${family.name}`)
      : diagnosis("warning", "no-family", `no family answers to ${quote(hfConfig.architecture)}`, { fix: "scaffold writes a starter file for a new one." }))
  }
  for (const finding of findings(space, modelFacts(space))) {
    out.push(diagnosis("note", finding.code, `${finding.text}${finding.names.length > 0 ? `: ${some(finding.names, 2)}` : ""}`, { names: finding.names }))
  }
  return out as ReadonlyArray<Diagnosis>
})
