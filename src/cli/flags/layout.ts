/** How ranks share what is written. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import { type Arrangement, MAX_RANKS, type PipelineSplit } from "../../api/requests.ts"
import { UsageError } from "../../errors.ts"
import type { Values } from "./Values.ts"
import { within } from "./within.ts"

export const component = Flag.String("component").pipe(
  Flag.withAlias("c"),
  Flag.withMetavar("NAME=tp=N[,…]"),
  Flag.withDescription("Layout of one component, repeated: language=tp=4,pp=2,dp=1,cp=1,ep=1,etp=1,rank_offset=0; an uneven pipeline: first_stage_layers=N, last_stage_layers=N, embedding_as_stage=true, loss_as_stage=true, layout=\"Et|tt|tL\"; virtual stages: vpp=N; an import also takes auto. Default: every component tp=1 on consecutive ranks"),
  Flag.between(0, 64)
)

const size = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("N"), Flag.withDescription(`${what} size of a standard checkpoint. Default 1`), Flag.optional)

const stageLayers = (which: "first" | "last") =>
  Flag.Int(`decoder-${which}-pipeline-num-layers`).pipe(
    Flag.withMetavar("N"),
    Flag.withDescription(`Layers of the ${which} pipeline stage of a standard checkpoint, where it has another number than the others`),
    Flag.optional
  )

const asStage = (what: "embedding" | "loss") =>
  Flag.Boolean(`account-for-${what}-in-pipeline-split`).pipe(
    Flag.withDescription(`Count the ${what} as one layer where the layers of a standard checkpoint are dealt out to pipeline stages`),
    Flag.withDefault(false)
  )

/** `--standard` and its single layout; an uneven pipeline is spelled as Megatron-LM does. */
export const standard = {
  standard: Flag.Boolean("standard").pipe(
    Flag.withDescription("One model, one layout, instead of MegatronMIMO; so it is with --tp, --pp, --ep, --etp, and for models of a single component"),
    Flag.withDefault(false)
  ),
  tp: size("tp", "Tensor-parallel"),
  pp: size("pp", "Pipeline-parallel"),
  ep: size("ep", "Expert-parallel"),
  etp: size("etp", "Expert-tensor-parallel"),
  vpp: Flag.Int("vpp").pipe(Flag.withMetavar("N"), Flag.withDescription("Virtual pipeline stages on every rank of a standard checkpoint. Default 1"), Flag.optional),
  firstStage: stageLayers("first"),
  lastStage: stageLayers("last"),
  embeddingStage: asStage("embedding"),
  lossStage: asStage("loss"),
  pipelineLayout: Flag.String("pipeline-model-parallel-layout").pipe(
    Flag.withMetavar("LAYOUT"),
    Flag.withDescription("Every pipeline stage of a standard checkpoint spelled out: E embedding, t layer, m multi-token prediction, L loss, e.g. 'Et*3|(tt|)*29,m|L'"),
    Flag.optional
  )
}

export type LayoutFlags = Values<typeof standard & { readonly component: typeof component }>

const PIPELINE_FLAGS: Readonly<Record<keyof PipelineSplit, string>> = {
  firstStageLayers: "--decoder-first-pipeline-num-layers",
  lastStageLayers: "--decoder-last-pipeline-num-layers",
  embeddingAsStage: "--account-for-embedding-in-pipeline-split",
  lossAsStage: "--account-for-loss-in-pipeline-split",
  layout: "--pipeline-model-parallel-layout",
  virtualStages: "--vpp"
}

/** The uneven pipeline of a standard checkpoint, if there is one. */
const pipelineOf = (flags: LayoutFlags): { readonly pipeline?: PipelineSplit } => {
  const [first, last] = [within(flags.firstStage, "decoder-first-pipeline-num-layers", 1, MAX_RANKS), within(flags.lastStage, "decoder-last-pipeline-num-layers", 1, MAX_RANKS)]
  const virtual = within(flags.vpp, "vpp", 1, MAX_RANKS)
  const pipeline: PipelineSplit = {
    ...(first === undefined ? {} : { firstStageLayers: first }),
    ...(last === undefined ? {} : { lastStageLayers: last }),
    ...(flags.embeddingStage ? { embeddingAsStage: true } : {}),
    ...(flags.lossStage ? { lossAsStage: true } : {}),
    ...(Option.isSome(flags.pipelineLayout) ? { layout: flags.pipelineLayout.value } : {}),
    ...(virtual === undefined ? {} : { virtualStages: virtual })
  }
  const [given] = Object.keys(pipeline) as ReadonlyArray<keyof PipelineSplit>
  if (given === undefined) return {}
  if (given !== "layout" && Option.getOrElse(flags.pp, () => 1) === 1) throw new UsageError({ problem: `${PIPELINE_FLAGS[given]} would do nothing: --pp is 1, so one stage has all layers` })
  return { pipeline }
}

/** An export reads any layout: flags that decide one would do nothing. @throws UsageError */
export const refuseLayoutOfImport = (flags: LayoutFlags): void => {
  const { components: _, ...others } = arrangementOf(flags)
  const [first] = Object.keys(others)
  if (first === undefined) return
  throw new UsageError({
    problem: `${first === "pipeline" ? "flags that describe a pipeline go" : `--${first} goes`} with an import`,
    hint: "An export reads any layout; without --megatron-path an import is planned."
  })
}

/** What the flags say of form and layout, and nothing where they say nothing. */
export const arrangementOf = (flags: LayoutFlags): Arrangement => ({
  ...(flags.standard ? { standard: true } : {}),
  ...(flags.component.length > 0 ? { components: flags.component } : {}),
  ...Object.fromEntries((["tp", "pp", "ep", "etp"] as const).flatMap((k) => (Option.isSome(flags[k]) ? [[k, flags[k].value]] : []))),
  ...pipelineOf(flags)
})
