/** A start for models that are not known. */
import { Effect } from "effect"
import { basename, dirname, join, resolve } from "node:path"
import { scaffold } from "../../routes/scaffold/index.ts"
import type { ConversionError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { makeFolders, writeSmall } from "../io/small.ts"
import { recognise } from "../recognise/patterns.ts"
import { openHfSource } from "../space/HfSource.ts"
import { present } from "../store/present.ts"

export interface Scaffold {
  readonly architecture: string
  /** A TypeScript module. */
  readonly text: string
  /** Where it was written. */
  readonly file?: string
}

/** What shows, beside the folder of a new family, that this is the repository: its families import from files. */
const FAMILY_SOURCE = join("src", "bridge", "Family.ts")

/** A starter family file for the model in `hfModel`; written to `file` (which must be free) if it is given, with the folders above it. */
export const scaffoldFamily = (hfModel: string, file?: string): Effect.Effect<Scaffold, ConversionError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const { architecture, json: config, weights } = yield* openHfSource(hfModel)
    const inRepository = file !== undefined && basename(dirname(resolve(file))) === "routes" &&
      (yield* converting(() => present(disk, join(dirname(resolve(file)), "..", FAMILY_SOURCE)))) !== undefined
    const text = scaffold({ architecture, config, patterns: recognise(weights.tensors.values()), inRepository })
    if (file === undefined) return { architecture, text }
    yield* converting(async () => {
      await makeFolders(disk, dirname(file))
      await writeSmall(disk, file, Buffer.from(text))
    })
    return { architecture, text, file }
  })
