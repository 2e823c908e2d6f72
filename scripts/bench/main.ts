/**
 * `npm run bench [-- --size 1GB|10GB --repeats N --models a,b --dir DIR --peers PYTHON]`: our commands and the same bytes moved by
 * `cp` and `dd` (with `--peers`, by Python too), in shuffled rounds of one run; medians, each as a ratio to `cp && sync` and to
 * `dd` with direct reads and writes. Writes docs/benchmarks.md and docs/benchmarks.json. `--dir` keeps the samples there.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { writeManyTensors } from "./holes.ts"
import { bytesBelow, type Measured, measureOwn, median, seconds, shuffled } from "./measure.ts"
import { STEPS, stepsOf } from "./steps.ts"
import { type Results, type Start, type Target, targetsOf } from "./targets.ts"

const root = new URL("../..", import.meta.url).pathname
const { values } = parseArgs({
  options: {
    size: { type: "string", default: "1GB" },
    repeats: { type: "string", default: "5" },
    models: { type: "string", default: "qwen3.5-vl,qwen3.5-vl-moe,qwen3-moe,qwen3-vl-moe,deepseek-v3-fp8" },
    dir: { type: "string" },
    peers: { type: "string" },
    write: { type: "boolean", default: true }
  },
  allowNegative: true
})
const repeats = Number(values.repeats)
const bin = join(root, "dist/bin.js")
execFileSync(process.execPath, [join(root, "scripts/build.ts")], { stdio: "inherit" })

const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-"))
mkdirSync(work, { recursive: true })
const path = (name: string) => join(work, name)
const run = (...args: ReadonlyArray<string>) => void execFileSync(process.execPath, [bin, ...args, "--quiet"], { stdio: "inherit" })

const results: Record<string, Record<string, ReadonlyArray<Measured>>> = {}
const sizes: Record<string, { readonly source: number; readonly output: number }> = {}
const models = values.models.split(",")
for (const model of models) {
  const [hf, megatron, out] = [path(`${model}-hf`), path(`${model}-megatron`), path("out")]
  if (!existsSync(hf)) run("sample", "--model", model, "--size", values.size, hf)
  if (!existsSync(megatron)) run("import", "--hf-model", hf, "--megatron-path", megatron)
  sizes[model] = { source: bytesBelow(hf), output: bytesBelow(megatron) }
  // Peers do not care what the tensors mean: one model tells.
  const steps = stepsOf({ bin, hf, megatron, out, python: model === models[0] ? values.peers : undefined })
  const runs = new Map<string, Array<Measured>>(steps.map((s) => [s.name, []]))
  for (let round = 0; round < repeats; round++) {
    for (const step of shuffled(steps)) {
      step.prepare()
      runs.get(step.name)!.push(step.run())
      rmSync(out, { recursive: true, force: true })
    }
    process.stderr.write(`${model}: round ${round + 1} of ${repeats}\n`)
  }
  results[model] = Object.fromEntries(runs)
  // The samples of one model at a time: disks are finite.
  if (values.dir === undefined) for (const directory of [hf, megatron]) rmSync(directory, { recursive: true })
}

/** Models without data, for what does not depend on it. */
const started = (): Start => {
  const [thousand, many] = [path("thousand"), path("many")]
  if (!existsSync(thousand)) writeManyTensors(thousand, { layers: 8, experts: 40, shardBytes: 1e6 })
  if (!existsSync(many)) writeManyTensors(many, { layers: 65, experts: 512, shardBytes: 505_000 })
  const times = (runs: number, once: () => number) => median(Array.from({ length: runs }, once))
  const plans = Array.from({ length: 3 }, () => measureOwn(bin, ["plan", "--quiet", "--hf-model", many]))
  return {
    version: times(11, () => seconds(bin, ["--version"])),
    planThousand: times(11, () => seconds(bin, ["plan", "--quiet", "--hf-model", thousand])),
    planMany: { wall: median(plans.map((p) => p.wall)), rss: Math.max(...plans.map((p) => p.rss)) }
  }
}
const start = started()
const targets = targetsOf(results as Results, start)
const bundle = statSync(join(root, "dist/cli/main.js")).size + statSync(join(root, "dist/cli/thread.js")).size

const number = (value: number, digits = 2): string => (Number.isFinite(value) ? value.toFixed(digits) : "–")

const tableOf = (model: string): string => {
  const own = results[model]!
  const { output, source } = sizes[model]!
  const med = (name: string, field: keyof Measured) => median(own[name]!.map((m) => m[field]))
  const rows = Object.keys(own).map((name) => {
    const wall = med(name, "wall")
    const cp = med(name.includes("warm") ? STEPS.cpWarm : STEPS.cpCold, "wall")
    const rss = med(name, "rss")
    const per = (field: "read" | "written") => (rss === 0 ? "" : number(med(name, field) / source))
    return `| ${name} | ${number(wall)} | ${number(wall / cp)} | ${number(wall / med(STEPS.dd, "wall"))} | ${number(med(name, "cpu"))} | ${rss === 0 ? "" : (rss / 1e6).toFixed(0)} | ${per("read")} | ${per("written")} |`
  })
  return `### ${model}: ${number(source / 1e9)} GB in, ${number(output / 1e9)} GB out\n\n| | wall s | / \`cp && sync\` | / \`dd\` direct | CPU s | peak MB | read / byte | written / byte |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n${rows.join("\n")}\n`
}

const shown = ({ measured, unit }: Target): string => `${number(measured, unit === " ms" || unit === " MB" ? 0 : 2)}${unit}`
const targetTable = `| | measured | at most | |
| --- | ---: | ---: | --- |
${targets.map((t) => `| ${t.what} | ${shown(t)} | ${t.atMost}${t.unit} | ${t.measured <= t.atMost ? "reached" : "missed"} |`).join("\n")}`

const text = `# Benchmarks

Written by \`npm run bench -- --size ${values.size} --repeats ${values.repeats}\` on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} × ${cpus()[0]?.model ?? "CPU"},
${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.versions.node}. Medians of ${values.repeats} shuffled rounds; everything is fsynced. Cold: the source's pages were
dropped before; its ratio is to a cold \`cp && sync\`, a warm one's to a warm \`cp && sync\`. Such machines are noisy: read the ratios.
What was tried, and why the numbers are what they are: [performance](performance.md).

## Against the targets

${targetTable}

The command line is ${(bundle / 1000).toFixed(0)} KB of JavaScript.

## Every step

${Object.keys(results).map(tableOf).join("\n")}`
process.stdout.write(text)
if (values.write) {
  writeFileSync(join(root, "docs/benchmarks.md"), text)
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, memory: totalmem(), node: process.versions.node }
  writeFileSync(join(root, "docs/benchmarks.json"), `${JSON.stringify({ date: new Date().toISOString(), size: values.size, machine, sizes, targets, start, results }, undefined, 1)}\n`)
}
if (values.dir === undefined) rmSync(work, { recursive: true })
