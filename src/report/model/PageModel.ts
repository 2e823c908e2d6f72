/** Everything that a page shows, computed once from what was gathered; the rooms ../render and ../script only draw it. */
import type { DtypeChange } from "../../plan/Report.ts"
import type { TensorVerdict } from "../../verify/pairing.ts"
import type { TensorDiff } from "../../diff/diff.ts"
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import { countText, sizeText } from "../numbers.ts"
import type { CoverageRow, Fate, Page } from "../PageData.ts"
import { type Differences, differences } from "./differences.ts"
import { type LayerPlot, layerPlot } from "./layerPlot.ts"
import { type LayoutFigures, layoutFigures } from "./layoutComparison.ts"
import { layoutWarnings } from "./layoutWarnings.ts"
import { type FoldedList, folded, masked } from "./lists.ts"
import { Names, packCoverage, packGroups, packTensors } from "./pack.ts"
import { type RankMap, rankMap } from "./rankMap.ts"
import type { Term } from "./terms.ts"

export interface SubjectModel {
  readonly index: number
  readonly inspection: Inspection
  readonly map: RankMap
  readonly plot: LayerPlot
  readonly warnings: ReadonlyArray<string>
  readonly tensors: FoldedList
  /** What there is to say of each column of the map. */
  readonly facts: ReadonlyArray<ReadonlyArray<string>>
}

/** A sentence on top of the page: the result. */
export interface Verdict {
  readonly good: boolean
  readonly text: string
}

export interface PageModel {
  readonly title: string
  readonly page: Page
  readonly verdicts: ReadonlyArray<Verdict>
  readonly subjects: ReadonlyArray<SubjectModel>
  /** Whose maps come first. */
  readonly first: ReadonlyArray<SubjectModel>
  /** Of two or more layouts. */
  readonly layouts: ReadonlyArray<LayoutFigures>
  readonly coverage?: FoldedList
  readonly verify?: FoldedList
  readonly diff?: FoldedList
  readonly differences?: Differences
  readonly terms: ReadonlyArray<Term>
  /** Components of all subjects: each has one colour on the whole page. */
  readonly components: ReadonlyArray<string>
  /** What the scripts read. */
  readonly data: object
}

export const FATES: Readonly<Record<Fate, string>> = {
  converted: "converted",
  kept: "kept byte for byte beside the model",
  left: "not stored, on purpose",
  missing: "mapped, but absent",
  unmapped: "not mapped"
}

const number = true as const
const sum = <T>(rows: ReadonlyArray<T>, of: (row: T) => number): number => rows.reduce((n, row) => n + of(row), 0)
const distinct = (values: Iterable<string>): ReadonlyArray<string> => [...new Set(values)]

const tensorList = (index: number, { tensors }: Inspection): FoldedList => ({
  id: `tensors${index}`,
  label: "tensors",
  noun: "tensors",
  columns: [{ head: "name" }, { head: "dtype" }, { head: "shape" }, { head: "size", number }, { head: "component" }, { head: "in" }],
  filters: [
    { name: "component", label: "Component", values: distinct(tensors.map((t) => t.component)) },
    { name: "dtype", label: "Dtype", values: distinct(tensors.map((t) => t.dtype)) }
  ],
  groups: folded<TensorRow>(tensors, {
    name: (t) => t.name,
    identity: (t) => `${t.dtype} ${t.shape.join()} ${t.component}`,
    cells: (own) => {
      const files = new Set(own.flatMap((t) => t.files))
      return [own[0].dtype, own[0].shape.join(" × ") || "scalar", sizeText(sum(own, (t) => t.bytes)), own[0].component, files.size === 1 ? [...files][0]! : `${files.size} files`]
    }
  })
})

const coverageList = (rows: ReadonlyArray<CoverageRow>): FoldedList => ({
  id: "coverage-list",
  label: "source tensors and where they went",
  noun: "tensors",
  columns: [{ head: "source" }, { head: "fate" }, { head: "how" }, { head: "size", number }, { head: "stored as" }],
  filters: [{ name: "fate", label: "Fate", values: distinct(rows.map((r) => r.fate)) }],
  groups: folded(rows, {
    name: (r) => r.name,
    identity: (r) => `${r.fate} ${r.how} ${r.keys.map(masked).join(" ")}`,
    cells: (own) => {
      const [first] = own
      const to = first.keys.length === 0 ? "—" : (own.length === 1 ? first.keys[0]! : masked(first.keys[0]!)) + (first.keys.length > 1 ? `  + ${first.keys.length - 1} more` : "")
      return [first.fate, first.how, sizeText(sum(own, (r) => r.bytes)), to]
    }
  })
})

/** Of a verdict: what the largest difference is. */
export const maxDiff = (t: TensorVerdict): string =>
  t.maxAbsDiff === undefined ? "" : Number.isFinite(t.maxAbsDiff) ? String(Number(t.maxAbsDiff.toPrecision(4))) : "not a number"

const verifyList = (rows: ReadonlyArray<TensorVerdict>): FoldedList => ({
  id: "verify-list",
  label: "tensors of both sides",
  noun: "tensors",
  columns: [{ head: "tensor" }, { head: "status" }, { head: "elements", number }, { head: "differing", number }, { head: "by at most", number }, { head: "detail" }],
  filters: [{ name: "fate", label: "Status", values: distinct(rows.map((t) => t.status)) }],
  groups: folded(rows, {
    name: (t) => t.name,
    identity: (t) => `${t.status} ${t.detail ?? ""}`,
    cells: (own) => [
      own[0].status, own.some((t) => t.elements !== undefined) ? countText(sum(own, (t) => t.elements ?? 0)) : "", own.some((t) => t.differing !== undefined) ? countText(sum(own, (t) => t.differing ?? 0)) : "",
      own.length === 1 ? maxDiff(own[0]) : own.some((t) => t.maxAbsDiff !== undefined) ? String(Number(Math.max(...own.map((t) => t.maxAbsDiff ?? 0)).toPrecision(4))) : "", own[0].detail ?? ""
    ]
  })
})

const side = (t: TensorDiff["left"]): string => (t ? `${t.dtype} [${t.shape.join(" × ")}]` : "absent")
export const figure = (n: number | undefined): string => (n === undefined ? "" : String(Number(n.toPrecision(4))))

const diffList = (rows: ReadonlyArray<TensorDiff>): FoldedList => ({
  id: "diff-list",
  label: "tensors that differ",
  noun: "tensors",
  columns: [{ head: "tensor" }, { head: "kind" }, { head: "‖a−b‖ / ‖a‖", number }, { head: "max |a−b|", number }, { head: "differing", number }, { head: "left" }, { head: "right" }],
  filters: [{ name: "kind", label: "Kind", values: distinct(rows.map((t) => t.kind)) }, { name: "component", label: "Component", values: distinct(rows.map((t) => t.component)) }],
  groups: folded(rows, {
    name: (t) => t.name,
    identity: (t) => `${t.kind} ${side(t.left)} ${side(t.right)}`,
    cells: (own) => {
      const most = (of: (t: TensorDiff) => number | undefined) => (own.some((t) => of(t) !== undefined) ? figure(own.reduce((m, t) => Math.max(m, of(t) ?? 0), 0)) : "")
      return [own[0].kind, most((t) => t.distance?.relative), most((t) => t.distance?.maxAbsDiff), own.some((t) => t.distance) ? countText(sum(own, (t) => t.distance?.differing ?? 0)) : "", side(own[0].left), side(own[0].right)]
    }
  })
})

const titleOf = ({ command, conversion, diff, planned, subjects, verify }: Page): string => {
  const model = conversion?.architecture ?? subjects.find((s) => s.model.name !== undefined)?.model.name
  const direction = conversion?.direction === "export" ? "export" : "import"
  const what = conversion ? (planned ? `Plan of an ${direction}` : direction === "export" ? "Export" : "Import")
    : verify ? "Verification" : diff ? "Differences" : command === "report" ? "Checkpoint report" : command
  return model === undefined ? what : `${what}: ${model}`
}

/** An export is planned of a checkpoint that is there. */
export const isPlanned = ({ conversion, planned }: Page, { kind }: Inspection): boolean => planned === true && kind === "megatron" && conversion?.direction !== "export"

const tensorsAre = (n: number): string => `${countText(n)} ${n === 1 ? "tensor is" : "tensors are"}`

const verdictsOf = ({ conversion, coverage, diff, planned, verify }: Page): ReadonlyArray<Verdict> => {
  const out: Array<Verdict> = []
  if (verify) out.push({ good: verify.equal === verify.total, text: `${countText(verify.equal)} of ${countText(verify.total)} tensors equal, bit for bit` })
  if (diff) out.push({ good: diff.tensors.length === 0, text: `${countText(diff.equal)} of ${countText(diff.total)} tensors ${diff.compared ? "equal, bit for bit" : "alike (headers only)"}` })
  if (planned && conversion) out.push({ good: true, text: "The plan holds; nothing has been written" })
  if (coverage) {
    const lost = coverage.rows.filter((r) => r.fate === "missing" || r.fate === "unmapped").length + coverage.unclaimed.length
    out.push(lost === 0 ? { good: true, text: `Every one of ${countText(coverage.rows.length)} source tensors is accounted for` } : { good: false, text: `${tensorsAre(lost)} not accounted for` })
  }
  const rounded = sum<DtypeChange>(conversion?.dtypeChanges ?? [], (c) => c.changedElements ?? 0)
  if (rounded > 0) out.push({ good: false, text: `${countText(rounded)} values were rounded` })
  return out
}

const termsOf = (subjects: ReadonlyArray<SubjectModel>, { coverage }: Page): ReadonlyArray<Term> => {
  const maps = subjects.map((s) => s.map)
  const has = (test: (map: RankMap) => boolean) => maps.some(test)
  return [
    ...(has((m) => m.of !== "file") ? ["rank"] as const : []),
    ...(has((m) => m.of === "rank") ? ["component"] as const : []),
    ...(["tp", "pp", "dp", "cp", "ep", "etp"] as const).filter((axis) => has((m) => m.axes.includes(axis))),
    ...(has((m) => m.columns.some((c) => c.ranks.length > c.contents)) ? ["replica"] as const : []),
    ...(has((m) => m.columns.some((c) => c.experts !== "")) ? ["expert"] as const : []),
    "chunk",
    ...(subjects.some((s) => s.inspection.totals.objects > 0) ? ["object"] as const : []),
    ...(has((m) => m.rows.some((r) => /(^|\.)mtp(_layers)?(\.|$)/.test(r.stack))) ? ["mtp"] as const : []),
    ...(has((m) => m.rows.some((r) => r.label === "outside layers")) ? ["outside layers"] as const : []),
    ...(has((m) => m.rows.some((r) => r.beside)) ? ["beside"] as const : []),
    ...(has((m) => m.rows.some((r) => r.component === "hf_source")) ? ["hf_source"] as const : []),
    ...(subjects.some((s) => s.inspection.kind === "safetensors") ? ["shard"] as const : []),
    ...(coverage && coverage.made.length > 0 ? ["source box, target box"] as const : [])
  ]
}

/** What the detail box says of a column. */
const factsOf = (map: RankMap, planned: boolean): ReadonlyArray<ReadonlyArray<string>> => map.columns.map((c) => {
  if (map.of === "file") return [c.label, `${sizeText(c.bytes)} in tensors`]
  if (map.of === "writer") return [`files of rank ${c.label}`, c.files.join(", "), `${sizeText(c.bytes)} in tensors`]
  const same = c.contents === 1 ? c.ranks.length > 1 ? `: ${c.ranks.length} replicas, which hold the same` : ""
    : c.alike ? `: ${c.contents} contents of one size; listed are those of rank ${c.ranks[0]}` : `: ${c.contents} contents`
  return [
    `${c.ranks.length === 1 ? "rank" : "ranks"} ${c.label}${same}`,
    [c.components.join(", "), ...map.axes.map((axis) => `${axis} ${c.at[axis]}`)].join(" · "),
    `${c.contents > 1 ? c.alike ? "each " : "at most " : ""}${sizeText(c.bytes)} of weights${c.expertBytes > 0 ? `, ${sizeText(c.expertBytes)} of them ${c.contents > 1 ? `${c.expertsEach} of the experts` : "experts"} ${c.experts}` : ""}`,
    ...c.layers,
    ...(c.files.length > 0 ? [`${planned ? "writes" : "wrote"} ${c.files.slice(0, 8).join(", ")}${c.files.length > 8 ? ` and ${c.files.length - 8} more` : ""}`] : [`${planned ? "writes" : "wrote"} nothing of its own`])
  ]
})

/** Build the model of a page whose texts are clean. Linear in tensors and chunks. */
export const pageModel = (page: Page): PageModel => {
  const { coverage, diff, verify } = page
  const subjects = page.subjects.map((inspection, index): SubjectModel => {
    const map = rankMap(inspection)
    return { index, inspection, map, facts: factsOf(map, isPlanned(page, inspection)), plot: layerPlot(inspection), warnings: layoutWarnings(inspection), tensors: tensorList(index, inspection) }
  })
  const megatron = subjects.filter((s) => s.map.of !== "file")
  const ranked = subjects.filter((s) => s.map.of === "rank")
  const hf = page.subjects.findIndex((i) => i.kind === "safetensors")
  const lists = {
    ...(coverage ? { coverage: coverageList(coverage.rows) } : {}),
    ...(verify ? { verify: verifyList(verify.tensors) } : {}),
    ...(diff ? { diff: diffList(diff.tensors) } : {})
  }
  const names = new Names(page.subjects)
  const data = {
    subjects: subjects.map((s) => ({ ...packTensors(s.inspection, s.map, names), facts: s.facts })),
    ...(coverage ? { coverage: packCoverage(coverage, names, hf, page.subjects.findIndex((i) => i.kind === "megatron")) } : {}),
    ...(verify ? {
      verify: verify.tensors.map((t) => [
        t.name, t.status, t.elements ?? null, t.differing ?? null, maxDiff(t), t.detail ?? "",
        t.firstDifference ? `element ${t.firstDifference.element}: ${t.firstDifference.assembled} and ${t.firstDifference.stored}` : ""
      ])
    } : {}),
    ...(diff ? { diff: diff.tensors.map((t) => [t.name, t.kind, figure(t.distance?.relative), figure(t.distance?.maxAbsDiff), t.distance?.differing ?? null, side(t.left), side(t.right), t.component, t.distance?.elements ?? null]) } : {}),
    lists: Object.fromEntries([...subjects.map((s) => s.tensors), ...Object.values(lists)].map(({ columns, groups, id }) => [id, { columns: columns.map((c) => [c.head, c.number ? 1 : 0]), groups: packGroups(groups) }])),
    names: names.patterns
  }
  return {
    title: titleOf(page),
    page,
    verdicts: verdictsOf(page),
    subjects,
    first: megatron.length > 0 ? megatron : subjects.slice(0, 1),
    layouts: ranked.length > 1 ? ranked.map((s) => layoutFigures(s.inspection, s.map)) : [],
    ...lists,
    ...(diff ? { differences: differences(diff) } : {}),
    terms: termsOf(subjects, page),
    components: distinct(page.subjects.flatMap((i) => i.components.map((c) => c.name))),
    data
  }
}

