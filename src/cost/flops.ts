/**
 * Floating-point operations of a step, by component and kind of module: matrices by their parameters, cores by their blocks. Unit:
 * operations, multiplication and addition counted apart. Not counted: recomputation, the optimizer, norms, softmax, lookups.
 */
import type { ModelDescription } from "../bridge/Family.ts"
import type { Form } from "../mimo/routing.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import { causalCore, fullCore } from "./cores.ts"
import { type Frozen, PASSES, type Role, trainingRole } from "./freezing.ts"
import { modelWeights, type ModelWeights, type ModelPart, type InputUnit, type WeightGroup } from "./weights.ts"
import type { Workload } from "./Workload.ts"

/** Forward operations of one kind of module in one place (see {@link WeightGroup}). */
export interface ModuleFlops extends Pick<WeightGroup, "component" | "module" | "part" | "stage"> {
  readonly forward: number
  readonly role: Role
}

const UNITS: Readonly<Record<InputUnit, keyof Workload>> = { token: "tokens", patch: "patches", merged: "merged", frame: "frames" }

const NOTHING_FROZEN: Frozen = new Set()

const CORE_PART: Readonly<Record<string, ModelPart>> = {
  attention: "attention", "latent-attention": "latent attention", "compressed-attention": "attention", "gated-delta-net": "linear attention",
  "channel-delta-attention": "linear attention", "lightning-attention": "linear attention", mamba: "mamba"
}

/** The cores of a module: attention, scans. */
const coresOf = (module: ModelModule, description: ModelDescription, form: Form, w: Workload): ReadonlyArray<Pick<ModuleFlops, "part" | "stage" | "forward">> => {
  if (module.kind === "vision" || module.kind === "audio") {
    const { headDim, heads, hidden, layers } = module.sizes
    const forward = fullCore(headDim === undefined ? hidden : heads * headDim, module.kind === "vision" ? w.patchSquares : w.frameSquares)
    return Array.from({ length: layers }, (_, layer) => ({ part: module.blocks.length > 0 ? "attention" as const : "tower" as const, stage: { layer, of: layers }, forward }))
  }
  if (module.kind !== "language") return []
  const { fields } = description.provider
  const { num_layers: of } = module.config
  return module.blocks.flatMap(({ block, layer = 0, mtp }) => {
    const part = CORE_PART[block.kind]
    if (part === undefined || (mtp && form === "mimo")) return []
    return [{ part: mtp ? "multi-token prediction" as const : part, stage: mtp ? "last" as const : { layer, of }, forward: causalCore(block, w, fields, layer) }]
  })
}

/** Layers of multi-token prediction that a model has. */
export const predictedLayers = ({ modules }: ModelDescription): number =>
  modules.reduce((sum, m) => sum + (m.kind === "language" ? m.config.mtp_num_layers ?? 0 : 0), 0)

export interface FlopOptions {
  /** `mimo` (by component) or `standard`. */
  readonly form: Form
  readonly frozen?: Frozen
  /** Sums of the model's weights, where they are known already. */
  readonly weights?: ModelWeights
}

/** Everything that a workload makes the model compute, place by place. */
export const modelWork = (description: ModelDescription, w: Workload, { form, frozen = NOTHING_FROZEN, weights = modelWeights(description, form) }: FlopOptions): ReadonlyArray<ModuleFlops> => {
  const work: Array<ModuleFlops> = []
  const owners = new Map<string, WeightGroup>()
  for (const group of weights.groups) {
    if (!owners.has(group.module)) owners.set(group.module, group)
    const forward = 2 * group.multiplyAdds * w[UNITS[group.unit]]
    // Norms and biases do not count: nothing is multiplied with a matrix.
    if (forward > 0) work.push({ component: group.component, module: group.module, part: group.part, stage: group.stage, forward, role: trainingRole(group, frozen) })
  }
  for (const module of description.modules) {
    const owner = owners.get(module.kind)
    if (owner === undefined) continue
    const component = form === "standard" ? owner.component : module.component ?? owner.component
    const role = trainingRole({ ...owner, component }, frozen)
    for (const core of coresOf(module, description, form, w)) if (core.forward > 0) work.push({ component, module: module.kind, role, ...core })
  }
  const { vocabulary } = weights
  const language = owners.get("language")
  if (vocabulary !== undefined && language !== undefined) {
    const logits = { component: language.component, module: "language" as const, stage: "last" as const, role: trainingRole(language, frozen), forward: 2 * vocabulary.rows * vocabulary.width * w.tokens }
    work.push({ ...logits, part: "vocabulary" })
    const predicted = form === "mimo" ? 0 : predictedLayers(description)
    if (predicted > 0) work.push({ ...logits, part: "multi-token prediction", forward: logits.forward * predicted })
  }
  return work
}

/** A row of the table: operations of one step. */
export interface FlopRow {
  readonly component: string
  readonly part: ModelPart
  readonly role: Role
  readonly forward: number
  readonly backward: number
}

/** Operations of a workload, multiplication and addition counted apart: forward passes, and what training adds to them. */
export interface Flops {
  readonly rows: ReadonlyArray<FlopRow>
  readonly components: ReadonlyArray<{ readonly component: string; readonly forward: number; readonly backward: number }>
  readonly forward: number
  readonly backward: number
}

const sumBy = <A>(all: ReadonlyArray<A>, of: (a: A) => number): number => all.reduce((sum, a) => sum + of(a), 0)

export const backwardOf = ({ forward, role }: Pick<ModuleFlops, "forward" | "role">): number => forward * (PASSES[role] - 1)

/** Forward and backward operations of a workload, by component and kind of module. */
export const modelFlops = (description: ModelDescription, w: Workload, options: FlopOptions): Flops => {
  const work = modelWork(description, w, options)
  const rows = [...Map.groupBy(work, ({ component, module, part, role }) => [component, module === "projector" ? "projector" : part, role].join("\u0000")).values()]
    .map((own): FlopRow => ({
      component: own[0]!.component,
      part: own[0]!.part,
      role: own[0]!.role,
      forward: sumBy(own, (x) => x.forward),
      backward: sumBy(own, backwardOf)
    }))
  const components = [...Map.groupBy(rows, (r) => r.component)].map(([component, own]) => ({ component, forward: sumBy(own, (r) => r.forward), backward: sumBy(own, (r) => r.backward) }))
  return { rows, components, forward: sumBy(rows, (r) => r.forward), backward: sumBy(rows, (r) => r.backward) }
}
