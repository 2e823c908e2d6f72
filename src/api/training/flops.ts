/** Floating-point operations of a sequence, by component and kind of module: pure arithmetic. */
import { Effect } from "effect"
import { type ComparedFlops, compareFlops } from "../../cost/compareFlops.ts"
import { type Flops, modelFlops, modelWork } from "../../cost/flops.ts"
import { frozenParts } from "../../cost/freezing.ts"
import { modelProfile } from "../../cost/profile.ts"
import { parameterCount } from "../../cost/weights.ts"
import type { ConversionError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import type { Form } from "../../mimo/routing.ts"
import { arrange, type Arrangement } from "../requests.ts"
import { formOf } from "../../plan/describe.ts"
import { imageNotes, mimoNotes, mixOf, readModel, type TrainingSampleRequest } from "./request.ts"

/** Floating-point operations of one sequence. */
export interface FlopsReport {
  readonly architecture: string
  readonly family: string
  readonly form: Form
  /** Tokens of the sequence; visual tokens among them. */
  readonly seqLength: number
  readonly visualTokens: number
  /** Of all modules that are built. */
  readonly parameters: number
  /** Multiplications and additions, counted apart. */
  readonly forward: number
  readonly backward: number
  readonly perToken: number
  readonly components: Flops["components"]
  readonly rows: Flops["rows"]
  /** What the trainer counts, kind by kind. */
  readonly trainer?: ComparedFlops
  readonly notes: ReadonlyArray<string>
}

/**
 * Operations of one sequence with its images, by component and kind of module.
 *
 * @param request `reference`: also what the trainer logs, and why the two differ
 */
export const countFlops = (hfModel: string, request: TrainingSampleRequest & Arrangement & { readonly reference?: boolean } = {}): Effect.Effect<FlopsReport, ConversionError, Disk> =>
  Effect.flatMap(readModel(hfModel, request), (model) => converting((): FlopsReport => {
    const { architecture, description, family } = model
    const mix = mixOf(model, request)
    const form = formOf(arrange(request).form, description)
    const frozen = frozenParts(description, request.freeze ?? [])
    const profile = modelProfile(description, form, frozen)
    const options = { form, frozen, weights: profile.weights }
    const flops = modelFlops(description, mix.mean, options)
    const trainer = request.reference ? compareFlops(description, modelWork(description, mix.mean, options), mix.mean, { form, tp: request.tp ?? 1 }) : undefined
    return {
      architecture,
      family,
      form,
      seqLength: mix.length,
      visualTokens: Math.round(mix.mean.merged),
      parameters: parameterCount(profile.weights),
      forward: flops.forward,
      backward: flops.backward,
      perToken: (flops.forward + flops.backward) / mix.length,
      components: flops.components,
      rows: flops.rows,
      ...(trainer ? { trainer } : {}),
      notes: [
        ...mimoNotes(form, model),
        ...imageNotes(model, request),
        ...(trainer && form === "mimo" ? ["of a MegatronMIMO run the trainer logs no FLOPs; what it would log of the same model is shown"] : []),
        ...(trainer && trainer.frozen > 0 ? ["the trainer counts frozen parts as if they trained"] : [])
      ]
    }
  }))
