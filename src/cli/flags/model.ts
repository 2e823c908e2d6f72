/** Which model: where it is read and written, or the parts that it is put together from, and families that are not built in. Names follow the reference's CLI. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { assembleModel, assemblyFile, assemblyRecipes, isAssemblyFile } from "../../api/assembly.ts"
import { modelPath } from "../../api/conversions.ts"
import { withFamilyFiles } from "../../api/familyFiles.ts"
import { attempt } from "../../api/ground.ts"
import { quote, quotePath, UsageError } from "../../errors.ts"
import { pathFlag } from "../paths.ts"
import { tell } from "../streams.ts"

export const hfModel = pathFlag("hf-model", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache")
)

export const hfRevision = Flag.String("hf-revision").pipe(
  Flag.withMetavar("REV"),
  Flag.withDescription("Branch, tag or commit of a model in the Hub's cache. Default main"),
  Flag.optional
)

/** Between the values of a repeated flag: no path has one. */
const BETWEEN = "\0"

/** `--hf-model` of commands that also take a model in parts. */
export const hfModels = hfModel.pipe(
  Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache; of a model that is put together: a YAML file, or PART=DIR for each part, with --recipe"),
  Flag.between(1, 16),
  Flag.map((values) => values.join(BETWEEN))
)

/** The flags of a model that is put together from several checkpoints. */
export const assembly = {
  recipe: Flag.String("recipe").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(`Put the model together from checkpoints of its parts: ${assemblyRecipes.join(", ")}. --hf-model language=DIR --hf-model images=DIR --hf-model projector=DIR|init:SEED`),
    Flag.optional
  )
}

/** Of an export: the parts, or one model. */
export const assembled = {
  ...assembly,
  whole: Flag.Boolean("whole").pipe(
    Flag.withDescription("With --recipe: write one model of transformers instead of the parts, if it has a class for it"),
    Flag.withDefault(false)
  ),
  token: Flag.String("token").pipe(
    Flag.withMetavar("MODALITY=ID"),
    Flag.withDescription("With --whole: the token that stands for a modality, e.g. images=32000. Repeatable"),
    Flag.between(0, 16)
  )
}

interface ModelFlags {
  readonly hfModel: string
  readonly hfRevision?: Option.Option<string>
  readonly recipe?: Option.Option<string>
  readonly whole?: boolean
  readonly token?: ReadonlyArray<string>
  readonly family?: ReadonlyArray<string>
}

const pairs = (flag: string, values: ReadonlyArray<string>): ReadonlyArray<readonly [string, string]> => {
  const found = values.map((value) => [value.slice(0, Math.max(0, value.indexOf("="))), value.slice(value.indexOf("=") + 1)] as const)
  const names = found.map(([name]) => name)
  const wrong = values.find((_, i) => names[i] === "" || found[i]![1] === "" || names.indexOf(names[i]!) !== i)
  if (wrong !== undefined) throw new UsageError({ code: "usage/assembly", problem: `--${flag} ${quote(wrong)}: NAME=VALUE is needed, once for each name` })
  return found
}

/** What `--hf-model` names: a directory, or a model that is put together. */
export const modelOf = Effect.fnUntraced(function*({ family = [], hfModel, hfRevision = Option.none(), recipe = Option.none(), token = [], whole = false }: ModelFlags) {
  const values = hfModel.split(BETWEEN)
  const [first, ...more] = values
  const file = isAssemblyFile(first!) && more.length === 0
  if (Option.isNone(recipe) && !file) {
    if (more.length > 0) return yield* new UsageError({ code: "usage/assembly", problem: "--hf-model is given several times", hint: `Of a model in parts, --recipe says which: ${assemblyRecipes.join(", ")}.` })
    if (whole || token.length > 0) return yield* new UsageError({ problem: `${whole ? "--whole" : "--token"} would do nothing: it goes with --recipe` })
    return yield* modelPath(first!, Option.getOrUndefined(hfRevision))
  }
  if (Option.isSome(hfRevision)) return yield* new UsageError({ problem: "--hf-revision would do nothing: a part is named with its revision, Org/Name@REVISION" })
  const asked = file ? yield* assemblyFile(first!) : yield* attempt(() => ({ recipe: Option.getOrThrow(recipe), parts: Object.fromEntries(pairs("hf-model", values)) }))
  const tokens = yield* attempt(() => Object.fromEntries(pairs("token", token).map(([name, id]) => {
    if (!/^\d{1,8}$/.test(id)) throw new UsageError({ code: "usage/assembly", problem: `--token ${quote(`${name}=${id}`)}: an id is a whole number` })
    return [name, Number(id)]
  })))
  const families = family.length > 0 ? { families: yield* withFamilyFiles(family) } : {}
  return yield* assembleModel({ ...asked, ...families, whole, tokens: { ..."tokens" in asked ? asked.tokens : {}, ...tokens } })
})

export const megatronPath = pathFlag("megatron-path", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Megatron checkpoint: the parent directory, or one iter_* folder to read from")
)

export const hfPath = pathFlag("hf-path", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Where the Hugging Face checkpoint is written")
)

export const family = pathFlag("family", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Module (.js, .ts) with families of yours, for models that are not known here or are known otherwise. Its code is run. Repeatable"),
  Flag.between(0, 16)
)

/** The same for a command that follows. */
export const familyWords = ({ family: files }: { readonly family: ReadonlyArray<string> }): ReadonlyArray<string> => files.flatMap((file) => ["--family", file])

/** The families of a command that has {@link family}: the built-in ones, unless files are named. Their code is run here; it is said before. */
export const namedFamilies = Effect.fnUntraced(function*({ family: files, json: asJson, quiet: silent }: { readonly family: ReadonlyArray<string>; readonly json: boolean; readonly quiet: boolean }) {
  if (files.length === 0) return {}
  if (!asJson && !silent) for (const file of files) yield* Effect.sync(() => { tell(`note: code of yours is run: ${quotePath(file)}\n`) })
  return { families: yield* withFamilyFiles(files) }
})

export const trustRemoteCode = Flag.Boolean("trust-remote-code").pipe(
  Flag.withDescription("Accepted for compatibility: code that comes with a model is never run here, custom *.py files are only copied"),
  Flag.withDefault(false)
)
