/** An inspection as text and JSON, in pieces: a hundred thousand tensors need no string of their own this way. */
import type { Inspection } from "../api/checkpoints.ts"
import { adapterGroups, type AdapterFacts, adapterSettingsText, normsText, ranges } from "../api/checkpoints.ts"
import { quote, safeJson, some } from "../quote.ts"
import { success } from "./envelope.ts"
import { wrap } from "./help.ts"
import { listPieces } from "./inspectList.ts"
import { treeText } from "./inspectTree.ts"
import { bold, bytes, dim, grouped, plural, table, terminalWidth } from "./text.ts"

const KINDS = { safetensors: "safetensors", megatron: "Megatron checkpoint", items: "data file of a Megatron checkpoint", archive: "torch.save file" } as const

/** Sentences are wrapped, tables are not. */
const TEXT_WIDTH = 74

/** Fields, as many to a line as fit. */
const wrapped = (parts: ReadonlyArray<string>, width = 78): string => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + part.length + 4 <= width) lines[lines.length - 1] = `${last}  ${part}`
    else lines.push(`  ${part}`)
  }
  return lines.join("\n")
}

const head = (i: Inspection): string => {
  const kind = `${KINDS[i.kind]}${i.form ? `, ${i.form === "mimo" ? "MegatronMIMO" : "standard"}` : ""}`
  const lines = [`${bold(i.model.name ?? kind)} ${i.model.name ? dim(`(${kind})`) : ""}`.trimEnd(), `  ${i.kind === "megatron" ? i.directory : i.path}`]
  if (i.model.fields.length > 0) lines.push(wrapped(i.model.fields.map(([field, text]) => `${field} ${text}`)))
  const { layout } = i.model
  if (layout.length > 0) {
    lines.push(wrapped(layout.map((l) =>
      `${l.component}: ${(["tp", "pp", "dp", "cp", "ep", "etp"] as const).map((k) => `${k}=${l[k]}`).join(" ")}${layout.length > 1 ? ` from rank ${l.rankOffset}` : ""}`)))
  }
  const facts = i.common.filter(([key]) => /^(iteration|checkpoint_version|num_floating_point_operations_so_far)$/.test(key) || i.kind === "archive")
  if (facts.length > 0) lines.push(wrapped(facts.slice(0, 24).map(([key, text]) => `${key} ${text}`)))
  return lines.join("\n")
}

const totals = (i: Inspection): string => {
  const t = i.totals
  return `  ${plural(t.tensors, "tensor")}, ${grouped(t.elements)} elements, ${bytes(t.bytes)}\n` +
    `  ${plural(t.chunks, "chunk")} and ${plural(t.objects, "object")} in ${plural(t.files, "file")} of ${bytes(t.fileBytes)}`
}

const sums = (i: Inspection): string =>
  table([
    ["component", "tensors", "elements", "size", "dtypes"],
    ...i.components.map((c) => [c.name, String(c.tensors), grouped(c.elements), bytes(c.bytes), c.dtypes.join(" ")])
  ]) + "\n\n" +
  table([["dtype", "tensors", "elements", "size"], ...i.dtypes.map((d) => [d.dtype, String(d.tensors), grouped(d.elements), bytes(d.bytes)])])

/** Layers of equal size drawn together. */
const layers = (i: Inspection): string => {
  const groups = new Map<string, { stack: string; numbers: Array<number>; tensors: number; bytes: number }>()
  for (const { bytes: size, layer, stack, tensors } of i.layers) {
    const key = JSON.stringify([stack, tensors, size])
    const same = groups.get(key)
    if (same) same.numbers.push(layer)
    else groups.set(key, { stack, numbers: [layer], tensors, bytes: size })
  }
  const rows = Array.from(groups.values(), (g) => [`${quote(g.stack)} ${ranges(g.numbers)}`, g.numbers.length, g.tensors, bytes(g.bytes)] as const)
  const wide = table([["layers", "number", "tensors each", "size each"], ...rows.map((row) => row.map(String))])
  if (wide.indexOf("\n") <= terminalWidth()) return wide
  return [`  ${dim("layers")}`, ...rows.map(([name, count, tensors, size]) => `  ${name}\n    ${plural(tensors, "tensor")}, ${size}${count > 1 ? ` each, ${count} times` : ""}`)].join("\n")
}

const MOST_FILES = 40

const files = (i: Inspection): string =>
  table([
    ["file", "size", "tensors", "chunks", "objects", "holds"],
    ...i.files.slice(0, MOST_FILES).map((f) => [quote(f.name), bytes(f.bytes), String(f.tensors), String(f.chunks), String(f.objects), f.components.join(" ")])
  ]) + (i.files.length > MOST_FILES ? `\n  ${dim(`… ${i.files.length} files in all (--json lists every one)`)}` : "")

const adapter = (facts: AdapterFacts): string => {
  const groups = adapterGroups(facts)
  const measured = groups.some(({ norms }) => norms)
  const rows = groups.map(({ experts, inputs, leaf, modules, norms, outputs, rank, scale, stack }) => [
    `${stack === undefined ? "" : `${quote(stack)}.*.`}${quote(leaf)}`,
    String(modules.length),
    String(rank),
    `${inputs} → ${outputs}${experts === undefined ? "" : `, ${experts} experts`}`,
    scale === undefined ? "unknown" : String(Number(scale.toPrecision(4))),
    ...(measured ? [norms ? normsText(norms) : "–"] : [])
  ])
  const targets = [...facts.targetModules, ...facts.targetParameters]
  return [
    `${bold("adapter")} ${adapterSettingsText(facts).join(", ")}, ${grouped(facts.parameters)} parameters`,
    ...(targets.length === 0 ? [] : [`  ${dim("targets")} ${some(targets, 12)}`]),
    ...(facts.problem === undefined ? [] : [`  ${quote(facts.problem)}`]),
    ...(facts.unpaired.length === 0 ? [] : [`  without their other half: ${some(facts.unpaired, 3)}`]),
    table([["modules", "number", "rank", "in → out", "scale", ...(measured ? ["‖ΔW‖"] : [])], ...rows])
  ].join("\n")
}

export interface InspectTextOptions {
  /** One line per tensor instead of the tree. */
  readonly list: boolean
  /** Sums only. */
  readonly summary: boolean
}

export function* inspectionText(i: Inspection, options: InspectTextOptions): Generator<string> {
  const blocks = [head(i), totals(i)]
  if (i.components.length > 0) blocks.push(sums(i))
  if (i.adapter) blocks.push(adapter(i.adapter))
  if (i.layers.length > 0) blocks.push(layers(i))
  if (i.kind === "megatron" || i.files.length > 1) blocks.push(files(i))
  yield blocks.join("\n\n")
  if (!options.summary) {
    yield `\n\n${bold("tensors")}${i.tensors.length === i.of ? "" : dim(` ${i.tensors.length} of ${i.of}`)}\n`
    if (options.list) yield* listPieces(i)
    else yield treeText(i.tensors.filter((t) => t.role !== "training" || i.tensors.length !== i.of))
  }
  const points = i.findings.map((f) => `  ${wrap(`${f.text}${f.names.length > 0 ? `: ${some(f.names, 2)}` : ""}`, TEXT_WIDTH).join("\n    ")}`)
  if (points.length > 0) yield `\n\n${bold("worth knowing")}\n${points.join("\n")}`
  for (const note of i.notes) yield `\n\n${bold("note")} ${note}`
  yield "\n"
}

/** Rows per piece of text. */
const ROWS = 1000

/** The JSON of an inspection: as {@link emit} would print it, but for the tensors, which take a line each. */
export function* inspectionJson({ tensors, ...rest }: Inspection): Generator<string> {
  const head = safeJson({ ...success("inspect", 0), ...rest }, 2)
  yield `${head.slice(0, head.lastIndexOf("\n}"))},\n  "tensors": [`
  for (let from = 0; from < tensors.length; from += ROWS) {
    const rows = tensors.slice(from, from + ROWS).map((row) => `\n    ${safeJson(row)}`)
    yield `${from === 0 ? "" : ","}${rows.join(",")}`
  }
  yield `${tensors.length === 0 ? "" : "\n  "}]\n}\n`
}
