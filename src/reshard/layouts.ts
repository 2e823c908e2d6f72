/** The layout that a checkpoint was written under, and the one it gets. Pure. */
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import { type RunLayout, runLayout } from "../arguments/runLayout.ts"
import { type Layout, standardLayout, STANDARD_COMPONENT } from "../parallel/Layout.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { recordedLayout } from "../runconfig/layout.ts"
import type { RunConfigMap } from "../runconfig/RunConfigFile.ts"

/** Of one component, as its run recorded it. */
export interface SourceLayout extends Pick<RunLayout, "pipelineBeforeData"> {
  readonly parallelism: ModuleParallelism
}

const ofRun = (args: TrainingArguments): SourceLayout => {
  const { parallelism, pipelineBeforeData, virtualStages } = runLayout(args)
  const { pipeline, ...sizes } = parallelism
  const split = { ...pipeline, ...(virtualStages > 1 && pipeline?.layout === undefined ? { virtualStages } : {}) }
  return { parallelism: { ...sizes, ...(Object.keys(split).length > 0 ? { pipeline: split } : {}) }, pipelineBeforeData }
}

/** By component; empty where nothing is recorded. FormatError for arguments that make no sense. */
export const sourceLayouts = (args: TrainingArguments | undefined, runConfig: RunConfigMap | undefined): ReadonlyMap<string, SourceLayout> => {
  if (args) return new Map([[STANDARD_COMPONENT, ofRun(args)]])
  return new Map((runConfig ? recordedLayout(runConfig) : []).map(({ component, ...parallelism }) => [component, { parallelism, pipelineBeforeData: false }]))
}

const CUTTING = ["tp", "pp", "ep", "etp", "rankOffset"] as const

/** Are the files cut alike? Copies of a model (dp, cp) are not stored. */
export const sameCut = (a: ModuleParallelism, b: ModuleParallelism, hasExperts: boolean): boolean =>
  CUTTING.every((key) => a[key] === b[key] || (!hasExperts && (key === "ep" || key === "etp"))) && JSON.stringify(a.pipeline ?? {}) === JSON.stringify(b.pipeline ?? {})

/** The layout of `names` as it was; every size 1 where nothing is recorded. */
export const recordedAs = (names: ReadonlyArray<string>, recorded: ReadonlyMap<string, SourceLayout>, fallback: (names: ReadonlyArray<string>) => Layout): Layout => {
  const components = names.flatMap((name) => (recorded.has(name) ? [{ name, parallelism: recorded.get(name)!.parallelism }] : []))
  if (components.length < names.length) return names.length === 1 && names[0] === STANDARD_COMPONENT ? standardLayout({}) : fallback(names)
  const worldSize = components.reduce((end, { parallelism: { cp, dp, pp, rankOffset, tp } }) => Math.max(end, rankOffset + tp * pp * cp * dp), 0)
  return { worldSize, components }
}

/** Elements of a bucket where a run says nothing else: more where there are many copies of the model. */
const bucketSize = ({ cp, dp }: ModuleParallelism): number => Math.max(40_000_000, 1_000_000 * dp * cp)

/** Are the optimizer's buckets of two layouts the same, which cut the model alike? They depend on the copies of it only by their size. */
export const sameBuckets = (args: TrainingArguments | undefined, before: ModuleParallelism, after: ModuleParallelism): boolean =>
  args !== undefined && (args.flag("overlap_grad_reduce") === false || args.number("ddp_bucket_size") !== undefined || bucketSize(before) === bucketSize(after))
