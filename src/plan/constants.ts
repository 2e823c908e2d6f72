/**
 * Parameters that HF does not have and an import filled with a constant: an export leaves them out only while they hold it. Where
 * training has changed them, config.json may say that the HF model has them too; otherwise nothing can hold them.
 */
import { Effect } from "effect"
import type { ConfigField } from "../bridge/Family.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { type Comparison } from "../engine/index.ts"
import { PlanRefused } from "../errors.ts"
import type { ConstantParameter, ExportPlan } from "./ExportDraft.ts"
import { unequal } from "./unequal.ts"

/** A constant as it is stored, held against what an import filled it with. */
export const constantComparison = ({ stored }: ExportPlan, { dtype, id, parameter, shape, value }: ConstantParameter): Comparison => {
  const copies = () => stored.toHf(parameter, id)
  return {
    array: { id, dtype, shape, copies },
    with: { id, dtype, shape, copies: () => copies().map((copy) => ({ ...copy, transform: { kind: "fill", value } })) }
  }
}

/** The keys of those that hold other values. */
const changed = (plan: ExportPlan) =>
  Effect.map(unequal("constants", Iterator.from(plan.constants).map((constant) => constantComparison(plan, constant))), (found) => [...found])

const setIn = (json: JsonValue, path: ReadonlyArray<string>, value: JsonValue): JsonValue => {
  const [head, ...tail] = path
  if (head === undefined) return value
  if (typeof json !== "object" || json === null || Array.isArray(json)) return json
  const object = json as { readonly [key: string]: JsonValue }
  return { ...object, [head]: setIn(object[head] ?? {}, tail, value) }
}

/** config.json with other values in some fields. */
export const withFields = (json: JsonValue, fields: ReadonlyArray<ConfigField>): JsonValue =>
  fields.reduce<JsonValue>((tree, { path, value }) => setIn(tree, path.split("."), value), json)

/**
 * The plan with a note on what it leaves out; undefined if training has changed it and the plan is to be made again with the
 * fields of `zeroFilled`. PlanRefused `plan/grown` if there are no such fields.
 */
export const checkedConstants = Effect.fnUntraced(function*(plan: ExportPlan) {
  if (plan.constants.length === 0) return plan
  const other = yield* changed(plan)
  if (other.length > 0 && plan.zeroFilled?.fields.length) return undefined
  if (other.length > 0) {
    return yield* new PlanRefused({
      code: "plan/grown",
      problem: `training has changed ${other.length === 1 ? "a parameter" : `${other.length} parameters`} of the checkpoint for which the Hugging Face model has no tensor`,
      names: other,
      hint: `An import fills them with zeros, because ${plan.zeroFilled?.why ?? "the trainer asks for them"}; freeze them in training, and an export can leave them out.`
    })
  }
  const note = `${plan.constants.length} parameters that Hugging Face's model does not have are left out; they are zero, which has been checked (${plan.constants[0]!.id} …)`
  return { ...plan, report: { ...plan.report, notes: [...plan.report.notes, note] } } satisfies ExportPlan
})

/** A plan with what training has made of the constants, and with the fields that give the HF model room for it. */
export const grownNotes = (plan: ExportPlan, fields: ReadonlyArray<ConfigField>): ExportPlan => ({
  ...plan,
  report: {
    ...plan.report,
    notes: [
      ...plan.report.notes,
      `training has changed parameters that an import filled with zeros; they are written as tensors, and config.json says ${fields.map(({ path, value }) => `${path} ${value}`).join(", ")}`
    ]
  }
})
