/**
 * `npm run bench [-- --size 1GB|10GB --repeats N --models a,b --dir DIR]`: our commands and the same bytes moved by `cp`
 * and `dd`, in shuffled rounds of one run; medians, each as a ratio to `cp && sync` and to `dd` with direct reads and writes.
 * Writes docs/benchmarks.md and docs/benchmarks.json.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { makeCold, makeWarm, type Measured, measureOwn, measureShell, median } from "./measure.ts"

const root = new URL("../..", import.meta.url).pathname
const { values } = parseArgs({
  options: {
    size: { type: "string", default: "1GB" },
    repeats: { type: "string", default: "5" },
    models: { type: "string", default: "qwen3.5-vl,qwen3.5-vl-moe,qwen3-moe,qwen3-vl-moe,deepseek-v3-fp8" },
    dir: { type: "string" },
    write: { type: "boolean", default: true }
  },
  allowNegative: true
})
const bin = join(root, "dist/bin.js")
execFileSync(process.execPath, [join(root, "scripts/build.ts")], { stdio: "inherit" })

const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-"))
mkdirSync(work, { recursive: true })
const path = (...names: ReadonlyArray<string>) => join(work, ...names)
const clear = (name: string) => rmSync(path(name), { recursive: true, force: true })

interface Step {
  readonly name: string
  readonly prepare: () => void
  readonly run: () => Measured
  readonly after?: () => void
}

const shuffled = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

const dataBytes = (directory: string): number =>
  readdirSync(directory).filter((f) => f.endsWith(".safetensors")).reduce((sum, f) => sum + statSync(join(directory, f)).size, 0)

/** Every safetensors file by `dd` past the page cache. */
const ddDirect = (from: string, to: string): string =>
  `mkdir -p '${to}' && for f in '${from}'/*.safetensors; do dd if="$f" of='${to}'/"$(basename "$f")" bs=8M iflag=direct oflag=direct status=none || exit 1; done; sync '${to}'`

const stepsOf = (model: string): ReadonlyArray<Step> => {
  const hf = path(`${model}-hf`)
  const megatron = path(`${model}-megatron`)
  const out = path("out")
  const once = (name: string, cold: boolean, source: string, run: () => Measured): Step => ({
    name,
    prepare: () => {
      clear("out")
      if (cold) makeCold(source)
      else makeWarm(source)
    },
    run,
    after: () => clear("out")
  })
  const own = (...args: ReadonlyArray<string>) => () => measureOwn(bin, args)
  const importArgs = ["import", "--quiet", "--hf-model", hf, "--megatron-path", out]
  return [
    once("cp && sync (cold)", true, hf, () => measureShell(`cp -r '${hf}' '${out}' && sync '${out}'/* '${out}'`)),
    once("cp && sync (warm)", false, hf, () => measureShell(`cp -r '${hf}' '${out}' && sync '${out}'/* '${out}'`)),
    once("dd direct", true, hf, () => measureShell(ddDirect(hf, out))),
    once("import (cold)", true, hf, own(...importArgs)),
    once("import (warm)", false, hf, own(...importArgs)),
    once("import (warm, buffered)", false, hf, own(...importArgs, "--io", "buffered")),
    once("export (cold)", true, megatron, own("export", "--quiet", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", out)),
    {
      name: "verify (cold)",
      prepare: () => {
        makeCold(hf)
        makeCold(megatron)
      },
      run: own("verify", "--quiet", "--hf-model", hf, "--megatron-path", megatron)
    },
    {
      name: "cat both sides (cold)",
      prepare: () => {
        makeCold(hf)
        makeCold(megatron)
      },
      run: () => measureShell(`find '${hf}' '${megatron}' -type f -exec cat {} + > /dev/null`)
    },
    { name: "plan", prepare: () => {}, run: own("plan", "--quiet", "--hf-model", hf) }
  ]
}

const results: Record<string, Record<string, ReadonlyArray<Measured>>> = {}
const sizes: Record<string, number> = {}
for (const model of values.models.split(",")) {
  const hf = path(`${model}-hf`)
  if (!existsSync(hf)) execFileSync(process.execPath, [bin, "sample", "--model", model, "--size", values.size, hf], { stdio: "inherit" })
  if (!existsSync(path(`${model}-megatron`))) {
    execFileSync(process.execPath, [bin, "import", "--quiet", "--hf-model", hf, "--megatron-path", path(`${model}-megatron`)], { stdio: "inherit" })
  }
  sizes[model] = dataBytes(hf)
  const steps = stepsOf(model)
  const runs = new Map<string, Array<Measured>>(steps.map((s) => [s.name, []]))
  for (let round = 0; round < Number(values.repeats); round++) {
    for (const step of shuffled(steps)) {
      step.prepare()
      runs.get(step.name)!.push(step.run())
      step.after?.()
    }
    process.stderr.write(`${model}: round ${round + 1} of ${values.repeats}\n`)
  }
  results[model] = Object.fromEntries(runs)
  // The samples of one model at a time: disks are finite.
  if (values.dir === undefined) for (const name of [`${model}-hf`, `${model}-megatron`]) clear(name)
}

const startUp = (...args: ReadonlyArray<string>): number =>
  median(Array.from({ length: 11 }, () => {
    const started = performance.now()
    spawnSync(process.execPath, [bin, ...args])
    return performance.now() - started
  }))

const tiny = path("tiny")
if (!existsSync(tiny)) execFileSync(process.execPath, [bin, "sample", "--quiet", tiny])
const bundle = (directory: string): number =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".js")).reduce((sum, f) => sum + statSync(join(directory, f)).size, 0)
const start = { version: startUp("--version"), planTiny: startUp("plan", "--quiet", "--hf-model", tiny), bundleBytes: bundle(join(root, "dist/cli")) }

const number = (value: number, digits = 2): string => (Number.isFinite(value) ? value.toFixed(digits) : "–")
const tableOf = (model: string): string => {
  const own = results[model]!
  const med = (name: string, field: keyof Measured) => median(own[name]!.map((m) => m[field]))
  const [cp, warm, dd] = [med("cp && sync (cold)", "wall"), med("cp && sync (warm)", "wall"), med("dd direct", "wall")]
  const rows = Object.keys(own).map((name) => {
    const wall = med(name, "wall")
    const reference = name.includes("warm") ? warm : cp
    const rss = med(name, "rss")
    const per = (field: "read" | "written") => (rss === 0 ? "" : number(med(name, field) / sizes[model]!))
    return `| ${name} | ${number(wall)} | ${number(wall / reference)} | ${number(wall / dd)} | ${number(med(name, "cpu"))} | ${rss === 0 ? "" : (rss / 1e6).toFixed(0)} | ${per("read")} | ${per("written")} |`
  })
  return `### ${model}, ${(sizes[model]! / 1e9).toFixed(2)} GB\n\n| | wall s | / \`cp && sync\` | / \`dd\` direct | CPU s | peak MB | read / byte | written / byte |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n${rows.join("\n")}\n`
}

const text = `# Benchmarks

Written by \`npm run bench -- --size ${values.size} --repeats ${values.repeats}\` on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} × ${cpus()[0]?.model ?? "CPU"},
${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.versions.node}. Medians of ${values.repeats} shuffled rounds; everything is fsynced. Cold: the source's pages were
dropped before; its ratio is to a cold \`cp && sync\`, a warm one's to a warm \`cp && sync\`. Such machines are noisy: read the ratios.

${Object.keys(results).map(tableOf).join("\n")}
## Start-up

\`--version\` ${start.version.toFixed(0)} ms, \`plan\` of a tiny model ${start.planTiny.toFixed(0)} ms (medians of 11, cold process, warm disk); bundle ${(start.bundleBytes / 1000).toFixed(0)} KB.
`
process.stdout.write(text)
if (values.write) {
  writeFileSync(join(root, "docs/benchmarks.md"), text)
  writeFileSync(join(root, "docs/benchmarks.json"), `${JSON.stringify({ date: new Date().toISOString(), size: values.size, node: process.versions.node, cpus: cpus().length, sizes, results, start }, undefined, 1)}\n`)
}
if (values.dir === undefined) rmSync(work, { recursive: true })
