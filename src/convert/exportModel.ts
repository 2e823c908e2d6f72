/**
 * What an export writes beside its tensors, and what it describes the model by: a Hugging Face model that is named, or (without one)
 * what the checkpoint says of itself, in run_config.yaml or in the arguments of its run.
 */
import { Effect } from "effect"
import { join } from "node:path"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { providerOfArguments } from "../arguments/providerFields.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { ModelFields } from "../bridge/ModelFields.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { RUN_CONFIG, TOKENIZER } from "../checkpoint/names.ts"
import { atPath } from "../document/decode.ts"
import { Unsupported, UsageError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { impliedConfig } from "../plan/impliedConfig.ts"
import { parsedSection, type Provider } from "../runconfig/Provider.ts"
import { providerOf } from "../runconfig/RunConfigFile.ts"
import { type PartedModel, assemblyAt } from "../space/Assembly.ts"
import { besideModel, type SideWeights } from "../space/besideModel.ts"
import { CONFIG, type HfConfig, openHfModel, sideFiles } from "../space/HfSource.ts"
import { readRunConfig } from "../space/megatronSpace.ts"
import { PARAMS } from "../space/publishedWeights.ts"
import { specialTokens } from "../space/specialTokens.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { present } from "../store/present.ts"
import type { Store } from "../store/Store.ts"
import { TOKENIZER_FILE } from "./tokenizerFiles.ts"

/** A model without a Hugging Face directory of its own. */
export interface DescribedByCheckpoint {
  /** Directory of a tokenizer; that inside the checkpoint, if there is one, where this says nothing. */
  readonly tokenizer?: string
  /** `architectures[0]` of the config.json, where the description fits several. */
  readonly architecture?: string
}

/** What an export has besides the checkpoint. */
export interface ExportModel {
  readonly config: HfConfig
  readonly weights: StoredWeights | undefined
  /** Other weights beside the model, which are copied. */
  readonly copied: ReadonlyArray<SideWeights>
  /** Where its small files are; undefined: nowhere. */
  readonly directory: string | undefined
  readonly isSideFile: (name: string) => boolean
  /** config.json is a file, which must not change meanwhile. */
  readonly isStored: boolean
  readonly notes: ReadonlyArray<string>
}

/** A Hugging Face directory. */
export const namedModel = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string) {
  const assembly = assemblyAt(hfModel)
  if (assembly?.whole) return wholeModel(assembly, assembly.whole)
  const { config, weights } = yield* openHfModel(hfModel, families)
  const { copied, notes } = weights?.safetensors ? yield* besideModel(weights.safetensors) : { copied: [], notes: () => [] }
  return { config, weights, copied, directory: hfModel, isSideFile: (name) => name !== CONFIG && (config.derivedFrom === undefined || name !== PARAMS), isStored: config.derivedFrom === undefined, notes: notes("export") } satisfies ExportModel as ExportModel
})

/** The parts of an assembly as one model. */
const wholeModel = (assembly: PartedModel, { architecture, bytes, config: json }: NonNullable<PartedModel["whole"]>): ExportModel => {
  const directory = assembly.parts[0]!.path
  return {
    config: { directory, path: directory, bytes, json, architecture },
    weights: undefined,
    copied: [],
    directory,
    isSideFile: (name) => TOKENIZER_FILE.test(name),
    isStored: false,
    notes: [`config.json is put together from those of ${assembly.parts.map(({ name }) => name).join(", ")}: ${architecture}; the tokenizer is that of ${assembly.parts[0]!.name}`]
  }
}

/** The provider's section, and the file that has it. */
const description = async (store: Store, { directory, form, metadata }: Checkpoint): Promise<{ readonly fields: Provider["fields"]; readonly path: string }> => {
  const config = await readRunConfig(store, directory)
  const path = join(directory, RUN_CONFIG)
  const section = config && providerOf(config)
  if (form === "mimo") throw new UsageError({ problem: "a model with components is described by its config.json", hint: "--hf-model DIR names the model; a directory with its config.json alone is enough." })
  if (section) return { fields: section, path }
  const common = await readCommonState(store, directory, metadata)
  const args = argumentsOf(common?.value)
  if (!args) {
    throw new Unsupported({
      code: "unsupported/implied-config",
      what: directory,
      problem: `nothing in the checkpoint describes its model: it has no ${RUN_CONFIG}, and no arguments of a run in its common state`,
      hint: "--hf-model DIR names a model of the same architecture; a directory with its config.json alone is enough."
    })
  }
  const file = join(directory, common!.file)
  return { fields: parsedSection(atPath(file, () => providerOfArguments(args))), path: file }
}

const DTYPE = /^torch\.(bfloat16|float16|float32)$/

/** The directory of the tokenizer that goes with an export. */
const tokenizerOf = async (store: Store, { directory }: Checkpoint, asked: string | undefined): Promise<string | undefined> => {
  if (asked !== undefined) return asked
  const inside = join(directory, TOKENIZER)
  return (await present(store, inside))?.kind === "directory" ? inside : undefined
}

/** The model as the checkpoint describes it. Errors: Unsupported `unsupported/implied-config`, UsageError, those of reading. */
export const describedModel = Effect.fnUntraced(function*(families: FamilyRegistry, checkpoint: Checkpoint, { architecture, tokenizer }: DescribedByCheckpoint) {
  const store = yield* storeInUse
  return yield* converting(async (): Promise<ExportModel> => {
    const { fields, path } = await description(store, checkpoint)
    const model = new ModelFields(fields)
    const directory = await tokenizerOf(store, checkpoint, tokenizer)
    const tokens = directory === undefined ? { bos_token_id: null, eos_token_id: null, pad_token_id: null } : await specialTokens(store, directory)
    const [, dtype = "bfloat16"] = DTYPE.exec(model.text("params_dtype") ?? "") ?? []
    const config = impliedConfig(families, model, { dtype, tokens, path, ...(architecture === undefined ? {} : { architecture }) })
    return {
      config,
      weights: undefined,
      copied: [],
      directory,
      isSideFile: (name) => TOKENIZER_FILE.test(name),
      isStored: false,
      notes: [
        `config.json follows from ${path}: ${config.architecture}`,
        ...(directory === undefined ? ["there is no tokenizer: --tokenizer DIR copies one, and gives config.json the ids of its special tokens"] : [])
      ]
    }
  })
})

/** The small files that an export copies. */
export const smallFilesOf = ({ directory, isSideFile }: ExportModel) => (directory === undefined ? Effect.succeed([]) : sideFiles(directory, isSideFile))
