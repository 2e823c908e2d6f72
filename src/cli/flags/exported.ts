/** The model that an export has its config from: --hf-model, or the checkpoint itself. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import type { DescribedByCheckpoint } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { refuseIdle } from "../idle.ts"
import { pathFlag } from "../paths.ts"
import { assembled, type family as familyFlag, hfModels, hfRevision as revision, modelOf } from "./model.ts"
import type { Values } from "./Values.ts"

/** `--hf-model` where it can be left out, and the flags that say what a checkpoint does not. */
export const exportModel = {
  hfModel: hfModels.pipe(
    Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache; of a model that is put together: a YAML file, or PART=DIR for each part, with --recipe. Without it, config.json follows from run_config.yaml, or from the arguments of a Megatron-LM run"),
    Flag.optional
  ),
  ...assembled,
  hfRevision: revision,
  tokenizer: pathFlag("tokenizer", "directory").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Without --hf-model: directory whose tokenizer is copied. Default: that in the checkpoint, if there is one"),
    Flag.optional
  ),
  architecture: Flag.String("architecture").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Without --hf-model: architectures[0] of config.json, where the checkpoint's description fits several"),
    Flag.optional
  )
}

type ExportModelFlags = Values<typeof exportModel & { readonly family: typeof familyFlag }>

/** The directory that `--hf-model` names, or what is said beside the checkpoint. UsageError for flags that would do nothing. */
export const exportModelOf = Effect.fnUntraced(function*({ architecture, family, hfModel, hfRevision, recipe, token, tokenizer, whole }: ExportModelFlags) {
  if (Option.isSome(hfModel)) {
    const why = "--hf-model says it"
    yield* attempt(() => refuseIdle(["--tokenizer", Option.isSome(tokenizer), why], ["--architecture", Option.isSome(architecture), why]))
    return yield* modelOf({ hfModel: hfModel.value, hfRevision, recipe, whole, token, family })
  }
  yield* attempt(() => refuseIdle(
    ["--hf-revision", Option.isSome(hfRevision), "no model of the Hub is named"],
    ["--recipe", Option.isSome(recipe), "there is no --hf-model PART=DIR"],
    ["--whole", whole, "it goes with --recipe"],
    ["--token", token.length > 0, "it goes with --recipe"]
  ))
  return {
    ...(Option.isSome(tokenizer) ? { tokenizer: tokenizer.value } : {}),
    ...(Option.isSome(architecture) ? { architecture: architecture.value } : {})
  } satisfies DescribedByCheckpoint as DescribedByCheckpoint
})
