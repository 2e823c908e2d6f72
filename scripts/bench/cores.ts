/**
 * `npm run bench:cores [-- --size 10GB --dir DIR --processes 1,2,4,8,14 --repeats N]`: what many cores make of a conversion, beside `cp`
 * of the same bytes, in shuffled rounds of one run; medians, as a table. In memory (/dev/shm) unless told otherwise, so that no disk
 * hides the cores. The build puts it into dist/ as `bench/cores.js`: a Node binary and dist/ are all that it needs.
 */
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { availableParallelism, cpus, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"

/** Layouts of many ranks: a kernel lets one writer at a time into a file, so what is to be fast has several. */
const layoutOf = (model: string, size: string): ReadonlyArray<string> => {
  switch (model) {
    // The smaller sample has 8 layers.
    case "qwen3.5-vl": return ["--component", `language=tp=1,pp=${size === "10GB" ? 16 : 8}`, "--component", "images=tp=1"]
    // The smaller sample has 20 experts.
    case "qwen3-vl-moe": return ["--component", size === "10GB" ? "language=ep=16,dp=16" : "language=ep=4,dp=4", "--component", "images=tp=1"]
    case "deepseek-v3-fp8": return ["--tp", "8", "--pp", "2"]
    default: return []
  }
}

const own = new URL(".", import.meta.url).pathname
const bin = existsSync(join(own, "../bin.js")) ? join(own, "../bin.js") : join(own, "../../dist/bin.js")
const cores = availableParallelism()
const { values } = parseArgs({
  options: {
    size: { type: "string", default: "10GB" },
    dir: { type: "string", default: "/dev/shm" },
    processes: { type: "string", default: [1, 2, 4, 8, 14, 16, 32].filter((n) => n <= cores).join(",") },
    models: { type: "string", default: "qwen3.5-vl,qwen3-vl-moe,deepseek-v3-fp8" },
    repeats: { type: "string", default: "3" }
  }
})
const counts = values.processes.split(",").map(Number)
const work = mkdtempSync(join(values.dir, "cores-"))
process.on("exit", () => rmSync(work, { recursive: true, force: true }))
const path = (name: string): string => join(work, name)

const bytesBelow = (directory: string): number =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)

/** Resident bytes of a process and all below it; pages that they share count more than once. */
const resident = (pid: number): number => {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)
    const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1])
    return pages * 4096 + children.reduce((sum, child) => sum + resident(child), 0)
  } catch {
    return 0
  }
}

interface Measured {
  readonly seconds: number
  readonly memory: number
}

/** Commands beside each other, until the last one ends. */
const measure = async (commands: ReadonlyArray<ReadonlyArray<string>>): Promise<Measured> => {
  const start = performance.now()
  let memory = 0
  const running = commands.map(([program, ...args]) => spawn(program!, args, { stdio: ["ignore", "ignore", "inherit"] }))
  const watch = setInterval(() => { memory = Math.max(memory, running.reduce((sum, { pid }) => sum + (pid === undefined ? 0 : resident(pid)), 0)) }, 50)
  const codes = await Promise.all(running.map((child) => new Promise<number | null>((resolve) => child.on("close", resolve))))
  clearInterval(watch)
  if (codes.some((code) => code !== 0)) throw new Error(`${commands[0]!.join(" ")}: exit code ${codes.join(", ")}`)
  return { seconds: (performance.now() - start) / 1000, memory }
}

const ours = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [process.execPath, bin, ...args, "--quiet"]
const run = (...args: ReadonlyArray<string>): void => { const [program, ...rest] = ours(...args); execFileSync(program!, rest, { stdio: "inherit" }) }

interface Step {
  readonly name: string
  readonly bytes: number
  /** Of one of our commands. */
  readonly processes?: number
  readonly commands: () => ReadonlyArray<ReadonlyArray<string>>
}

const median = (numbers: ReadonlyArray<number>): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
const shuffled = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => items.map((item) => [Math.random(), item] as const).sort((a, b) => a[0] - b[0]).map(([, item]) => item)

const stepsOf = (model: string): ReadonlyArray<Step> => {
  const [hf, megatron, out] = [path("hf"), path("megatron"), path("out")]
  const [source, stored] = [bytesBelow(hf), bytesBelow(megatron)]
  const steps: Array<Step> = [{ name: "`cp -r`", bytes: source, commands: () => [["cp", "-r", hf, out]] }]
  const files = readdirSync(hf).filter((name) => name.endsWith(".safetensors"))
  if (model === counted[0] && cores >= 4) {
    // Each copies its own share of the files, so that all together copy the model once.
    const shares = Array.from({ length: 8 }, (_, i) => files.filter((__, file) => file % 8 === i).map((name) => join(hf, name))).filter((share) => share.length > 0)
    steps.push({ name: `${shares.length} \`cp\` at once`, bytes: files.reduce((sum, name) => sum + statSync(join(hf, name)).size, 0), commands: () => {
      mkdirSync(out)
      return shares.map((share) => ["cp", ...share, out])
    } })
  }
  for (const n of counts) steps.push({ name: `import, ${n}`, processes: n, bytes: source, commands: () => [ours("import", "--hf-model", hf, "--megatron-path", out, ...layoutOf(model, values.size), "--processes", String(n))] })
  for (const n of counts) steps.push({ name: `export, ${n}`, processes: n, bytes: stored, commands: () => [ours("export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", out, "--processes", String(n))] })
  for (const n of counts) steps.push({ name: `verify, ${n}`, processes: n, bytes: source + stored, commands: () => [ours("verify", "--hf-model", hf, "--megatron-path", megatron, "--processes", String(n))] })
  return steps
}

const AT_ONCE = /`cp` at once$/

interface Result extends Step {
  readonly seconds: number
  readonly memory: number
}

/** What the table shows of each command: its best rate, beside `cp` and several `cp` at once, what eight processes gain, and memory. */
const summaryOf = (results: ReadonlyArray<Result>): ReadonlyArray<string> => {
  const rate = ({ bytes, seconds }: Result): number => bytes / 1e9 / seconds
  const [cp, together] = [results.find(({ name }) => name === "`cp -r`"), results.find(({ name }) => AT_ONCE.test(name))]
  const lines = ["import", "export", "verify"].map((verb) => {
    const own = results.filter(({ name }) => name.startsWith(`${verb}, `))
    const best = own.reduce((found, it) => (rate(it) > rate(found) ? it : found))
    const of = (n: number): Result | undefined => own.find(({ processes }) => processes === n)
    const [one, eight] = [of(1), of(8)]
    return `- ${verb}: ${rate(best).toFixed(1)} GB/s with ${best.processes} ${best.processes === 1 ? "process" : "processes"}` +
      (verb !== "verify" && cp ? `, ${(rate(best) / rate(cp)).toFixed(1)} × \`cp -r\`` : "") +
      (verb !== "verify" && together ? `, ${(rate(best) / rate(together)).toFixed(2)} of ${together.name}` : "") +
      (one && eight ? `; 1 to 8 processes: ${(rate(eight) / rate(one)).toFixed(1)} ×` : "")
  })
  const own = results.filter(({ processes }) => processes !== undefined)
  const most = Math.max(...own.map(({ memory, processes }) => (memory / 1e6 - 200) / processes!))
  return [...lines, `- memory: at most 200 MB and ${Math.max(0, Math.round(most))} MB for each process`]
}

const counted = values.models.split(",")
console.log(`${cpus()[0]?.model ?? "?"}, ${cores} cores, ${Math.round(totalmem() / 1e9)} GB, in ${values.dir}, Node ${process.versions.node}, ${values.repeats} rounds\n`)
for (const model of counted) {
  run("sample", "--model", model, "--size", values.size, path("hf"))
  run("import", "--hf-model", path("hf"), "--megatron-path", path("megatron"), ...layoutOf(model, values.size))
  const steps = stepsOf(model)
  const found = new Map<string, Array<Measured>>(steps.map((step) => [step.name, []]))
  for (let round = 0; round < Number(values.repeats); round++) {
    for (const step of shuffled(steps)) {
      rmSync(path("out"), { recursive: true, force: true })
      found.get(step.name)!.push(await measure(step.commands()))
    }
  }
  rmSync(path("out"), { recursive: true, force: true })
  console.log(`## ${model} (${values.size})\n\n| step, processes | s | GB/s | peak memory, MB |\n| --- | ---: | ---: | ---: |`)
  const results = steps.map((step): Result => {
    const runs = found.get(step.name)!
    return { ...step, seconds: median(runs.map((r) => r.seconds)), memory: Math.max(...runs.map((r) => r.memory)) }
  })
  for (const { bytes, memory, name, seconds } of results) {
    console.log(`| ${name} | ${seconds.toFixed(2)} | ${(bytes / 1e9 / seconds).toFixed(1)} | ${Math.round(memory / 1e6)} |`)
  }
  console.log(`\n${summaryOf(results).join("\n")}\n`)
  for (const name of ["hf", "megatron"]) rmSync(path(name), { recursive: true, force: true })
}
