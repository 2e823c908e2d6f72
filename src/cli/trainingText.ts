/** Reports about training as text. */
import type { FlopsReport } from "../api/training/flops.ts"
import type { LayoutReport, LayoutScore } from "../api/training/layouts.ts"
import type { MemoryReport } from "../api/training/memory.ts"
import { quote } from "../errors.ts"
import { bad, bold, dim, good, plural, table } from "./text.ts"

const scaled = (n: number, units: ReadonlyArray<readonly [number, string]>): string => {
  const [factor, unit] = units.find(([f]) => Math.abs(n) >= f) ?? units.at(-1)!
  return `${(n / factor).toPrecision(4)} ${unit}`
}

/** `643.3 T`: operations. */
const operations = (n: number): string => scaled(n, [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1, ""]])
const parameters = (n: number): string => scaled(n, [[1e9, "G"], [1e6, "M"], [1e3, "K"], [1, ""]])
const gib = (n: number): string => (n / 2 ** 30).toFixed(2)
const seconds = (n: number): string => (n >= 1 ? `${n.toFixed(3)} s` : `${(1000 * n).toFixed(2)} ms`)
const percent = (n: number): string => `${(100 * n).toFixed(1)} %`

const notes = (all: ReadonlyArray<string>): ReadonlyArray<string> => all.map((note) => `${bold("note")} ${note}`)

export const renderFlops = (r: FlopsReport): string => [
  `${bold(r.architecture)} ${dim(`(${r.family}, ${r.form})`)}: ${parameters(r.parameters)} parameters; one sequence of ${r.seqLength} tokens` +
  (r.visualTokens > 0 ? `, ${r.visualTokens} of them visual` : ""),
  table([
    ["component", "part", "forward", "backward", "both", "trains"],
    ...r.rows.map((row) => [row.component, row.part, operations(row.forward), operations(row.backward), operations(row.forward + row.backward), row.role === "trained" ? "yes" : row.role])
  ]),
  `  ${bold(operations(r.forward + r.backward))} operations, ${operations(r.perToken)} per token (${r.components.map((c) => `${c.component} ${operations(c.forward + c.backward)}`).join(", ")})`,
  ...(r.trainer ? [
    `${bold("what the trainer logs")} ${dim("(everything as if it trained)")}\n${table([
      ["part", "here", "trainer", "difference"],
      ...r.trainer.rows.map((row) => [row.part, operations(row.counted), operations(row.logged), row.counted === row.logged ? "-" : operations(row.counted - row.logged)])
    ])}`,
    r.trainer.rows.filter((row) => row.reason !== undefined).map((row) => `  ${row.part}: ${row.reason}`).join("\n") || "  no difference",
    `  ${bold(operations(r.trainer.logged))} by the trainer, ${operations(r.trainer.counted)} here` + (r.trainer.frozen > 0 ? `; frozen parts save ${operations(r.trainer.frozen)}` : "")
  ] : []),
  ...notes(r.notes)
].join("\n\n")

const ranks = ({ firstRank, ranks: count }: { readonly firstRank: number; readonly ranks: number }): string => (count === 1 ? `${firstRank}` : `${firstRank}-${firstRank + count - 1}`)

const memoryTable = (stages: MemoryReport["stages"], usable: number, reserve: number): string => table([
  ["component", "stage", "ranks", "weights", "gradients", "optimizer", "activations", "in flight", "logits", "buffers", "GiB", "fits"],
  ...stages.map((s) => [
    s.component, String(s.stage), ranks(s), gib(s.weights), gib(s.gradients), gib(s.optimizer), gib(s.activations), String(s.microBatchesInFlight), gib(s.logits), gib(s.communication),
    gib(s.total), s.total + reserve <= usable ? "yes" : "no"
  ])
])

export const renderMemory = (r: MemoryReport): string => [
  `${bold(r.architecture)} ${dim(`(${r.family}, ${r.form})`)}: ${parameters(r.parameters)} parameters; micro batch ${r.microBatch}, ${plural(r.microBatches, "microbatch").replace("microbatchs", "microbatches")}, ` +
  `recompute ${r.recompute}, sequence parallelism ${r.sequenceParallel ? "on" : "off"}`,
  memoryTable(r.stages, r.usable, r.reserve),
  `  ${r.fits ? good("fits") : bad("does not fit")} ${r.gpu}: ${gib(r.usable)} GiB, of which ${gib(r.reserve)} stay free`,
  ...(r.trainers ? [
    `${bold("what the trainers print")} ${dim("(fullest rank)")}\n${table([
      ["", "states", "activations"],
      ["Megatron-LM", gib(r.trainers.megatronLm.states), gib(r.trainers.megatronLm.activations)],
      ["Megatron-Bridge", gib(r.trainers.bridge.states), gib(r.trainers.bridge.activations)]
    ])}`
  ] : []),
  ...notes(r.notes)
].join("\n\n")

const scoreRow = (name: string, s: LayoutScore): ReadonlyArray<string> => [
  name, s.spelled, String(s.ranks), String(s.idle), String(s.microBatch), s.recompute, s.sequenceParallel ? "yes" : "no", seconds(s.stepSeconds), percent(s.bubble), percent(s.memoryShare),
  (1e6 * s.gpuSecondsPerToken).toFixed(2)
]

const SCORE_HEAD = ["", "layout", "ranks", "idle", "mbs", "recompute", "SP", "step", "bubble", "memory", "GPU-µs/token"]

export const renderLayout = (r: LayoutReport): string => {
  const [best] = r.best
  const standing = r.given?.score ?? best
  const brokenText = (r.given?.broken ?? []).map((b) => `  ${bad(`rule ${b.rule}`)} ${quote(b.problem)}\n    ${dim(`the trainer: ${b.trainer}`)}`).join("\n")
  return [
    `${bold(r.architecture)} ${dim(`(${r.family})`)} on ${plural(r.nodes, "node")} of ${r.gpusPerNode} ${r.gpu}, ${r.exclusive ? "allocated whole" : "allocated by GPU"}: ` +
    `sequences of ${r.seqLength}, global batch ${r.globalBatch}`,
    ...(r.given ? [`${bold("the given layout")} ${r.given.broken.length === 0 ? good("breaks no rule") : bad("is refused")}${brokenText === "" ? "" : `\n${brokenText}`}`] : []),
    table([
      SCORE_HEAD,
      ...(r.given?.score ? [scoreRow("given", r.given.score)] : []),
      ...r.best.map((s, i) => scoreRow(String(i + 1), s)),
      ...(r.standard ? [scoreRow("one layout", r.standard)] : [])
    ]),
    ...(standing ? [
      `  ${bold(standing.flags.join(" "))}`,
      `  nodes hold ${standing.ranksByNode.join(" + ")} ranks${standing.idle > 0 ? `; ${plural(standing.idle, "GPU")} idle: ${standing.idleBecause}` : ""}`,
      table([
        ["component", "stage", "compute", "tensor parallel", "expert parallel", "transfer", "per microbatch"],
        ...standing.stages.map((s) => [s.component, String(s.stage), ...[s.compute, s.tensorParallel, s.expertParallel, s.transfer, s.total].map(seconds)])
      ]),
      `  gradients ${seconds(standing.gradientSeconds)}, optimizer ${seconds(standing.optimizerSeconds)}; ` +
      standing.utilisation.map((u) => `${u.component} ${percent(u.mfu)} of its GPUs' peak, busy ${percent(u.busy)}`).join("; ")
    ] : []),
    ...(r.changes.length > 0 ? [
      `${bold("one change to the best")}\n${r.changes.map((c) => `  ${c.change}: ${c.broken ? `refused by rule ${c.broken.rule}, ${quote(c.broken.problem)}` : `${c.cost! > 0 ? "+" : ""}${percent(c.cost!)}`}`).join("\n")}`
    ] : []),
    `${bold("refused")} ${dim(`(of ${r.searched} layouts)`)}\n${r.refused.map((x) => `  rule ${x.rule}, ${x.layouts}: ${quote(x.problem)} ${dim(`(${quote(x.example)}; ${x.trainer})`)}`).join("\n") || "  none"}`,
    ...notes(r.notes)
  ].join("\n\n")
}
