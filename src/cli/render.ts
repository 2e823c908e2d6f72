/** Reports as text. */
import { quote, some } from "../errors.ts"
import type { ConversionReport, ProcessPlan } from "../api/conversions.ts"
import { runsText } from "../api/shares.ts"
import type { DeepReport, VerifyReport } from "../api/verification.ts"
import { bad, bold, bytes, dim, good, plural, table } from "./text.ts"

const MOST_LINES = 10

const list = <T>(items: ReadonlyArray<T>, line: (item: T) => string): string =>
  items.slice(0, MOST_LINES).map((item) => `  ${line(item)}`).join("\n") +
  (items.length > MOST_LINES ? `\n  ${dim(`… ${items.length} in all (--json lists every one)`)}` : "")

const components = (report: ConversionReport): string => {
  const laidOut = report.components.some((c) => c.layout)
  const head = ["component", ...(laidOut ? ["tp", "pp", "dp", "cp", "ep", "etp", "ranks"] : []), "tensors", "size"]
  return table([
    head,
    ...report.components.map((c) => [
      c.name,
      ...(c.layout ? [c.layout.tp, c.layout.pp, c.layout.dp, c.layout.cp, c.layout.ep, c.layout.etp, c.layout.ranks].map(String) : []),
      String(c.tensors),
      bytes(c.bytes)
    ])
  ])
}

const quantized = ({ dequantized, forms, restored }: NonNullable<ConversionReport["quantized"]>): string => {
  const lines = forms.map((f) => `${plural(f.tensors, "tensor")} as ${f.form}`)
  if (restored.length > 0) lines.push(`unchanged, written as the original's codes and scales (${restored.length}): ${some(restored, 3)}`)
  if (dequantized.length > 0) lines.push(`written as values (${dequantized.length}): ${some(dequantized, 3)}`)
  return `${bold("quantised")}\n${lines.map((line) => `  ${line}`).join("\n")}`
}

const frozenText = ({ asked, byHook, bytes: size, fields, parameters, tensors }: NonNullable<ConversionReport["frozen"]>): string => {
  const lines = [`${plural(parameters, "parameter")}, ${plural(tensors, "stored tensor")}, ${bytes(size)}: ${some(asked, 5)}`]
  if (fields.length > 0) lines.push(`run_config.yaml says so: ${fields.join(", ")}`)
  if (byHook.length > 0) lines.push(`no field says so, a hook has to freeze them (setup sft --freeze writes one for the router): ${some(byHook, 5)}`)
  return `${bold("does not train")}\n${lines.map((line) => `  ${line}`).join("\n")}`
}

/** Groups with others in them, e.g. `tp 0-1 dp 0,2`. */
const groupsText = (groups: ProcessPlan["groups"] = {}): string =>
  Object.entries(groups).filter(([, runs]) => runs.length > 1 || runs[0]![1] > 1).map(([kind, runs]) => `${kind} ${runsText(runs)}`).join("  ")

const processes = ({ each, memoryInAll, memoryOfEach }: NonNullable<ConversionReport["processes"]>): string => {
  const shown = each.slice(0, MOST_LINES)
  const grouped = shown.filter(({ groups }) => groups !== undefined)
  return [
    `${bold("who writes what")} ${dim(`(${each.length} ${each.length === 1 ? "process" : "processes"}, at most ${bytes(memoryOfEach)} of memory each, ${bytes(memoryInAll)} in all)`)}`,
    table([["rank", "component", "files", "size"], ...shown.map((p) => [String(p.rank), p.components.join(", "), String(p.files.length), bytes(p.bytes)])]),
    ...(each.length > MOST_LINES ? [`  ${dim(`… ${each.length} in all (--json lists every one)`)}`] : []),
    ...(grouped.some(({ groups }) => groupsText(groups) !== "") ? [`${bold("process groups")}\n${list(grouped, ({ groups, rank }) => `${rank}  ${groupsText(groups) || "alone"}`)}`] : [])
  ].join("\n")
}

/** What a conversion will do (`done` false) or did. */
export const renderReport = (report: ConversionReport, target: string | undefined, done: boolean): string => {
  const verb = report.direction === "import" ? (done ? "imported" : "import") : (done ? "exported" : "export")
  const needed = report.files.reduce((sum, f) => sum + f.bytes, 0)
  const blocks = [
    `${bold(`${verb} ${report.architecture}`)} ${dim(`(${report.family}, ${report.form})`)}\n  from ${report.source}${target ? `\n  to   ${target}` : ""}`,
    components(report),
    `  ${plural(report.sourceTensors, "tensor")}, ${bytes(report.sourceBytes)} → ${plural(report.targetTensors, "tensor")}, ${bytes(report.targetBytes)} ` +
    `in ${plural(report.files.length, "file")}, ${bytes(needed)} on disk`
  ]
  if (report.frozen) blocks.push(frozenText(report.frozen))
  if (report.dtypeChanges.length > 0) {
    const lossy = report.dtypeChanges.filter((c) => (c.changedElements ?? 0) > 0).length
    blocks.push(`${bold("dtype changes")}${done ? dim(` (${lossy} of ${report.dtypeChanges.length} changed values)`) : ""}\n` +
      list(report.dtypeChanges, (c) => `${c.tensor}: ${c.from} → ${c.to}${c.changedElements ? `, ${plural(c.changedElements, "value")} rounded` : ""}`))
  }
  if (report.leftBehind.length > 0) {
    blocks.push(`${bold("left behind")}\n${list(report.leftBehind, (l) => `${l.tensor} (${bytes(l.bytes)}): ${l.reason}`)}`)
  }
  if (report.carried.length > 0) {
    const how = report.direction === "import" ? "carried as their own bytes beside the model" : "restored from their own bytes"
    blocks.push(`${bold(how)}\n${list(report.carriedBecause, ({ tensors, why }) => `${some(tensors, 3)}: ${why}`)}`)
  }
  if (report.quantized) blocks.push(quantized(report.quantized))
  if (report.processes) blocks.push(processes(report.processes))
  if (report.pinned) blocks.push(`${bold("read by ranges")} ${dim("(no whole file passes that could be summed; every range is held to)")}\n${list(report.pinned, ({ by, file }) => `${file}: ${by}`)}`)
  if (report.io) blocks.push(report.io.map((it) => `  ${dim(ioLine(it))}`).join("\n"))
  for (const note of report.notes) blocks.push(`${bold("note")} ${note}`)
  return blocks.join("\n\n")
}

const WAYS = { direct: "past the page cache", buffered: "through the page cache" } as const

const ioLine = ({ fileSystem, inFlight, known, seen, side, way }: NonNullable<ConversionReport["io"]>[number]): string => {
  const others = seen.filter((s) => s.way !== way || s.inFlight !== inFlight)
  const speed = (s: (typeof seen)[number] | undefined): string => (s === undefined ? "" : ` ${(s.bytesPerSecond / 1e9).toFixed(2)} GB/s`)
  const own = speed(seen.find((s) => s.way === way && s.inFlight === inFlight))
  const compared = others.map((s) => `${WAYS[s.way]}, ${s.inFlight} at once:${speed(s)}`)
  return `${side === "source" ? "read" : "written"} (${quote(fileSystem)}) ${WAYS[way]}, ${inFlight} at once:${own}` +
    (compared.length > 0 ? `; ${compared.join("; ")}` : "") + (known ? "; chosen by earlier runs, too" : "")
}

/** The verdict per tensor that is not equal, then the parity line alone. */
export const renderVerify = (report: VerifyReport): string => {
  const off = report.tensors.filter((t) => t.status !== "equal")
  const lines = off.slice(0, 50).map((t) => {
    const values = t.differing ? `${t.differing} of ${t.elements} values differ, by at most ${t.maxAbsDiff}` : undefined
    return `${bad(t.status.padEnd(9))} ${quote(t.name)}${[t.detail, values].filter(Boolean).map((d) => `  ${d}`).join("")}`
  })
  if (off.length > 50) lines.push(dim(`… ${off.length} tensors in all are not equal (--json lists every one)`))
  for (const note of report.notes) lines.push(`${bold("note")} ${note}`)
  const parity = `${report.equal}/${report.total} equal`
  return [...lines, off.length === 0 ? good(parity) : bad(parity)].join("\n")
}

/** Every damaged place, then the sum alone. */
export const renderDeep = (report: DeepReport): string => {
  const lines = report.damages.slice(0, 50).map((d) => {
    const range = d.begin === undefined || d.end === undefined ? "" : `, bytes ${d.begin} to ${d.end - 1}`
    const where = d.tensors === undefined || d.problem !== "content" ? "" : d.tensors.length === 0 ? "  (not in a tensor)" : `  in ${some(d.tensors, 5)}`
    return `${bad(d.problem.padEnd(10))} ${quote(d.file)}${d.bit ? "" : range}: ${d.detail}${where}`
  })
  if (report.damages.length > 50) lines.push(dim(`… ${report.damages.length} places in all (--json lists every one)`))
  for (const note of report.notes) lines.push(`${bold("note")} ${note}`)
  const read = `${plural(report.files, "file")}, ${plural(report.tensors, "tensor")}, ${bytes(report.bytes)} read`
  const damaged = new Set(report.damages.map((d) => d.file)).size
  return [...lines, damaged === 0 ? good(`${read}: intact`) : bad(`${read}: ${plural(damaged, "file")} damaged`)].join("\n")
}
