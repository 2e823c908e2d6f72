/** Proof that two adapters are the same: their matrices, bit for bit, and by how much the change of each module is multiplied. */
import { Effect } from "effect"
import { openAdapterSides, type OtherScale, otherScales, scalesOf } from "../adapters/compared.ts"
import { surveyAdapters } from "../adapters/survey/survey.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"
import { comparePairing, type TensorVerdict, type VerificationOptions, type VerifyReport } from "./pairing.ts"

const rounded = (n: number): string => String(Number(n.toPrecision(6)))

const verdictOf = ({ left, module, right }: OtherScale): TensorVerdict => ({ name: module, status: "different", detail: `B·A is multiplied by ${rounded(left)} and by ${rounded(right)}` })

/** A report with the modules that are scaled otherwise; equal matrices are no equal adapters then. */
const withScales = (report: VerifyReport, others: ReadonlyArray<OtherScale>): VerifyReport =>
  others.length === 0 ? report : { ...report, total: report.total + others.length, tensors: [...report.tensors, ...others.map(verdictOf)] }

/** A directory of `peft` against a Megatron checkpoint with adapters, through the base model's mapping. */
export const verifyAdapters = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, peftPath: string, megatronPath: string, options: VerificationOptions) {
  const { megatron, notes, peft } = yield* openAdapterSides(families, hfModel, peftPath, megatronPath)
  const report = yield* comparePairing({
    left: megatron.path,
    right: peft.path,
    reference: "right",
    lefts: megatron.tensors,
    rights: peft.tensors,
    comparisons: (name, dtype) => [{ array: megatron.array(name, dtype), with: peft.array(name, dtype) }],
    notes
  }, options)
  return withScales(report, otherScales(megatron.scales, peft.scales))
})

/** What two adapters of one kind differ in besides their tensors. */
export const verifyScales = Effect.fnUntraced(function*(report: VerifyReport, left: OpenedSpace, right: OpenedSpace) {
  const [a, b] = [yield* surveyAdapters(left, { norms: false }), yield* surveyAdapters(right, { norms: false })]
  return a && b ? withScales(report, otherScales(scalesOf(a), scalesOf(b))) : report
})
