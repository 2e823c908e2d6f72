/** Choosing a layout: the page, the flags and the report of what the planner finds. */
import { Effect } from "effect"
import { predictedLayers } from "../../cost/flops.ts"
import { type ModelProfile, modelProfile } from "../../cost/profile.ts"
import { type ConversionError, UsageError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import type { Layout } from "../../parallel/Layout.ts"
import { calibrated } from "../../planner/estimate.ts"
import type { Efficiency } from "../../planner/gpus.ts"
import { type LayoutReport, shown, verdictNote } from "../../planner/LayoutReport.ts"
import { judge, planLayouts, type PlanRequest, type ScoredLayout, usualChoice } from "../../planner/plan.ts"
import { renderLayoutPage } from "../../report/layoutPage.ts"
import { replaceFile } from "../reportFiles.ts"
import { imageNotes, mimoNotes, type PreparedTraining, prepareTraining, type TrainingRequest } from "./request.ts"

export type { Broken } from "../../parallel/LayoutRules.ts"
export type { LayoutReport, LayoutScore } from "../../planner/LayoutReport.ts"
export type { TimelineEvent } from "../../planner/timeline.ts"

/** Choose a layout: every one that fits the cluster, checked by the trainer's rules and scored; or check and score a given one. */
export const planLayout = (hfModel: string, request: TrainingRequest = {}): Effect.Effect<LayoutReport, ConversionError, Disk> =>
  Effect.flatMap(prepareTraining(hfModel, request), (prepared) => converting(() => planned(prepared, request).report))

/** A report with the layouts themselves. */
export interface PlannedLayouts {
  readonly report: LayoutReport
  readonly chosen: ScoredLayout | undefined
}

/** Search, or judge the given layout. */
export const planned = ({ form, given, gpu, layout: make, model, plan, profile }: PreparedTraining, request: TrainingRequest): PlannedLayouts => {
  const { gpusPerNode } = plan.cluster
  const own = given ? make(profile.components, { judged: true }) : undefined
  const { measuredStep } = request
  const efficiency = own === undefined || measuredStep === undefined ? plan.efficiency : calibratedBy(profile, own, plan, measuredStep)
  if (own === undefined && measuredStep !== undefined) throw new UsageError({ problem: "a measured step belongs to a layout", hint: "--component (or --tp, --pp, …) gives the layout that was measured." })
  const asked = { ...plan, efficiency }
  const judged = own === undefined ? undefined : judge(profile, own, asked)
  const standard = form === "mimo" ? modelProfile(model.description, "standard", profile.frozen) : undefined
  const { best, changes, refused, searched, standard: baseline } = planLayouts(profile, asked, standard)
  const usable = plan.cluster.gpu.usableGiB * 2 ** 30
  const report: LayoutReport = {
    architecture: model.architecture,
    family: model.family,
    gpu,
    nodes: plan.cluster.nodes,
    gpusPerNode,
    exclusive: plan.cluster.exclusive,
    globalBatch: plan.globalBatch,
    seqLength: plan.mix.length,
    usable,
    best: best.map((one) => shown(one, gpusPerNode)),
    ...(baseline ? { standard: shown(baseline, gpusPerNode) } : {}),
    ...(judged ? { given: { broken: judged.broken, ...(judged.scored ? { score: shown(judged.scored, gpusPerNode) } : {}) } } : {}),
    refused,
    searched,
    changes,
    notes: [
      ...mimoNotes(form, model),
      ...imageNotes(model, request),
      ...(baseline && predictedLayers(model.description) > 0 ? ["the standard layout also trains multi-token prediction, at its own cost"] : []),
      ...verdictNote(judged === undefined ? best[0] : judged.broken.length === 0 ? judged.scored : undefined, baseline),
      ...(best.length === 0 ? ["no layout of components fits these GPUs: the refused ones say why"] : []),
      measuredStep === undefined
        ? "times are estimates from first principles; the ratios between layouts outlive a wrong efficiency, the seconds do not: --measured-step calibrates them"
        : `efficiencies agree with the measured step: language ${efficiency.language.toFixed(3)}, towers ${efficiency.tower.toFixed(3)} of the peak`
    ]
  }
  return { report, chosen: judged === undefined ? best[0] : judged.broken.length === 0 ? judged.scored : undefined }
}

const calibratedBy = (profile: ModelProfile, layout: Layout, plan: PlanRequest, measured: number): Efficiency => {
  if (!(measured > 0 && measured < 1e6)) throw new UsageError({ problem: `a measured step takes more than 0 seconds, not ${measured}` })
  const choice = usualChoice(profile, layout, plan)
  return calibrated(profile, layout, { ...plan, ...choice, gpu: plan.cluster.gpu, gpusPerNode: plan.cluster.gpusPerNode }, measured)
}

/** Write pages about a layout; existing ones are replaced. */
export const writeLayoutPages = (pages: ReadonlyArray<string>, report: LayoutReport): Effect.Effect<void, ConversionError, Disk> =>
  pages.length === 0 ? Effect.void : Effect.flatMap(Disk, (disk) => converting(async () => {
    const html = Buffer.from(renderLayoutPage(report))
    for (const page of pages) await replaceFile(disk, page, html)
  }))

/** Values of `--component` of the best layout, for an import. UsageError where none fits. */
export const bestComponents = (hfModel: string, request: TrainingRequest): Effect.Effect<ReadonlyArray<string>, ConversionError, Disk> =>
  Effect.flatMap(planLayout(hfModel, request), ({ best, gpusPerNode, nodes, refused }) => converting(() => {
    const [first] = best
    if (first === undefined || first.form !== "mimo") {
      throw new UsageError({
        problem: first === undefined ? `no layout of components fits ${nodes} nodes of ${gpusPerNode} GPUs` : "this model has a single component",
        hint: first === undefined ? refused.map((r) => `rule ${r.rule}: ${r.problem}`).at(-1) ?? "more nodes" : "--tp, --pp, --ep give its layout"
      })
    }
    return first.flags.filter((flag) => flag !== "--component")
  }))
