/** The model that an export has its config from: --hf-model, or the checkpoint itself. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import type { DescribedByCheckpoint } from "../api/conversions.ts"
import { attempt } from "../api/ground.ts"
import * as flags from "./flags.ts"
import { refuseIdle } from "./idle.ts"
import { pathFlag } from "./paths.ts"

/** `--hf-model` where it can be left out, and the flags that say what a checkpoint does not. */
export const exportModel = {
  hfModel: flags.hfModel.pipe(
    Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache. Without it, config.json follows from run_config.yaml, or from the arguments of a Megatron-LM run"),
    Flag.optional
  ),
  hfRevision: flags.hfRevision,
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

interface ExportModelFlags {
  readonly hfModel: Option.Option<string>
  readonly hfRevision: Option.Option<string>
  readonly tokenizer: Option.Option<string>
  readonly architecture: Option.Option<string>
}

/** The directory that `--hf-model` names, or what is said beside the checkpoint. UsageError for flags that would do nothing. */
export const exportModelOf = Effect.fnUntraced(function*({ architecture, hfModel, hfRevision, tokenizer }: ExportModelFlags) {
  if (Option.isSome(hfModel)) {
    const why = "--hf-model says it"
    yield* attempt(() => refuseIdle(["--tokenizer", Option.isSome(tokenizer), why], ["--architecture", Option.isSome(architecture), why]))
    return yield* flags.modelOf({ hfModel: hfModel.value, hfRevision })
  }
  yield* attempt(() => refuseIdle(["--hf-revision", Option.isSome(hfRevision), "no model of the Hub is named"]))
  return {
    ...(Option.isSome(tokenizer) ? { tokenizer: tokenizer.value } : {}),
    ...(Option.isSome(architecture) ? { architecture: architecture.value } : {})
  } satisfies DescribedByCheckpoint as DescribedByCheckpoint
})
