/** What becomes of adapters, as text. */
import type { AdapterReport, AdapterSummary, MergeReport } from "../api/adapters.ts"
import { bold, bytes, dim, plural, table } from "./text.ts"

const MOST = 20

const listed = (names: ReadonlyArray<string>): string => names.slice(0, MOST).join(", ") + (names.length > MOST ? dim(` … ${names.length} in all`) : "")

/** Rank, alpha, targets. */
const adapterLines = ({ alpha, dropout, form, matrices, parameters, rank, ranks, targetModules, targetParameters }: AdapterSummary): ReadonlyArray<string> => [
  `  ${form}: rank ${rank}, alpha ${alpha}${dropout > 0 ? `, dropout ${dropout}` : ""}; ${matrices} adapted ${matrices === 1 ? "matrix" : "matrices"}, ${plural(parameters, "parameter")}`,
  ...(targetModules.length === 0 ? [] : [`  target modules: ${listed(targetModules)}`]),
  ...(targetParameters.length === 0 ? [] : [`  target parameters: ${listed(targetParameters)}`]),
  ...(ranks.length === 0 ? [] : [`  other ranks: ${listed(ranks.map((r) => `${r.module} ${r.rank}`))}`])
]

/** What an export or import of adapters will do (`done` false) or did. */
export const renderAdapter = (report: AdapterReport, target: string, done: boolean): string => [
  `${bold(`${report.direction}${done ? "ed" : ""} adapters of ${report.architecture}`)} ${dim(`(${report.family}, ${report.form})`)}\n  from ${report.source}\n  to   ${target}`,
  [
    ...adapterLines(report.adapter),
    `  ${plural(report.sourceTensors, "tensor")} → ${plural(report.targetTensors, "tensor")} in ${plural(report.files.length, "file")}, ${bytes(report.files.reduce((sum, f) => sum + f.bytes, 0))}`
  ].join("\n"),
  ...report.notes.map((note) => `${bold("note")} ${note}`)
].join("\n\n")

const ORDERS: Readonly<Record<MergeReport["order"], string>> = {
  bridge: "as Megatron-Bridge rounds: W + s·BA in F32, once",
  peft: "as peft rounds: s·BA first, then the sum",
  precise: "all changes in F32, rounded once"
}

/** What a merge will do (`done` false) or did. */
export const renderMerge = (report: MergeReport, target: string, done: boolean): string => [
  `${bold(`merge${done ? "d" : ""} into ${report.architecture}`)} ${dim(`(${report.family})`)}\n  from ${report.base}\n  to   ${target}`,
  table([["adapter", "rank", "alpha", "weight", "tensors"], ...report.adapters.map((a) => [`${a.path}${a.dora ? " (DoRA)" : ""}`, String(a.rank), String(a.alpha), String(a.weight), String(a.tensors)])]),
  `  ${plural(report.changed, "tensor")} changed (${ORDERS[report.order]}; computed by ${report.driver}), ${report.copied} copied; ` +
  `${plural(report.files.length, "file")} written, ${bytes(report.files.reduce((sum, f) => sum + f.bytes, 0))}, ${report.unchanged.length} unchanged`,
  ...report.requantised.map(({ form, tensors }) => `  ${plural(tensors, "quantised tensor")} rounded to codes again: ${form}`),
  ...report.notes.map((note) => `${bold("note")} ${note}`)
].join("\n\n")
