/**
 * `npm run bench:serve [-- --size 1GB --consumers 16 --dir DIR --repeats N]`: a checkpoint streamed over loopback to one consumer and to
 * several, beside a plain TCP copy of the same bytes (a file piped into a socket, read and dropped); medians, in shuffled rounds; and the
 * server's peak memory while one consumer of several takes nothing. Server and consumers are processes of their own.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: { size: { type: "string", default: "1GB" }, consumers: { type: "string", default: "16" }, dir: { type: "string", default: "/dev/shm" }, repeats: { type: "string", default: "3" } }
})
const TOKEN = "a-token-of-sixteen-characters"
process.env["MEGATRON_MIMO_TOKEN"] = TOKEN

const bin = new URL("../../dist/bin.js", import.meta.url).pathname
const library = new URL("../../dist/index.js", import.meta.url).href
const work = mkdtempSync(join(values.dir, "bench-serve-"))
const [hf, megatron] = [join(work, "hf"), join(work, "megatron")]
const run = (...args: ReadonlyArray<string>): void => { execFileSync(process.execPath, [bin, ...args, "--quiet"], { stdio: ["ignore", "ignore", "inherit"] }) }
const median = (numbers: ReadonlyArray<number>): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!

/** The first line that a child writes to stderr. */
const line = async (child: ChildProcess): Promise<string> => String((await once(child.stderr!, "data"))[0])

const CONSUMER = `
const { streamServedWeights } = await import(${JSON.stringify(library)})
let bytes = 0
for await (const piece of streamServedWeights(process.argv[1])) bytes += piece.bytes.byteLength
console.log(bytes)
`
const STALLED = `
const { streamServedWeights } = await import(${JSON.stringify(library)})
for await (const piece of streamServedWeights(process.argv[1])) await new Promise(() => setInterval(() => {}, 1000))
`
const SENDER = `
import { createReadStream } from "node:fs"
import { createServer } from "node:net"
const server = createServer((socket) => {
  const next = () => { const file = files.shift(); if (file === undefined) return socket.end(); createReadStream(file, { highWaterMark: 1 << 20 }).on("end", next).pipe(socket, { end: false }) }
  const files = process.argv.slice(1)
  next()
  server.close()
}).listen(0, "127.0.0.1", () => process.stderr.write(String(server.address().port)))
`
const RECEIVER = `
import { connect } from "node:net"
connect(Number(process.argv[1]), "127.0.0.1").on("data", () => {}).on("close", () => process.exit(0))
`
const node = (script: string, ...args: ReadonlyArray<string>): ChildProcess => spawn(process.execPath, ["--input-type=module", "-e", script, ...args], { stdio: ["ignore", "pipe", "pipe"] })

const files = (directory: string): ReadonlyArray<string> => readdirSync(directory).filter((name) => name.endsWith(".distcp")).map((name) => join(directory, name))

const tcpCopy = async (paths: ReadonlyArray<string>): Promise<number> => {
  const sender = node(SENDER, ...paths)
  const port = await line(sender)
  const receiver = node(RECEIVER, port)
  const began = performance.now()
  await once(receiver, "close")
  return performance.now() - began
}

/** Peak resident memory of a process so far, in MB; 0 of one that has ended, as a server does that has served all whom it expected. */
const peakOf = ({ exitCode, pid }: ChildProcess): number => {
  const status = exitCode === null && existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : ""
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000
}

const served = async (consumers: number, stalled = 0): Promise<{ readonly ms: number; readonly peak: number }> => {
  const server = spawn(process.execPath, [bin, "serve", megatron, "--hf-model", hf, "--json", ...(stalled > 0 ? ["--gather", "2000"] : ["--consumers", String(consumers), "--gather", "20000"])], { stdio: ["ignore", "ignore", "pipe"] })
  const { url } = JSON.parse(await line(server)) as { url: string }
  const waiting = Array.from({ length: stalled }, () => node(STALLED, url))
  let peak = 0
  const watching = setInterval(() => { peak = Math.max(peak, peakOf(server)) }, 20)
  const began = performance.now()
  const all = Array.from({ length: consumers }, () => node(CONSUMER, url))
  await Promise.all(all.map((child) => once(child, "close")))
  const ms = performance.now() - began
  peak = Math.max(peak, peakOf(server))
  clearInterval(watching)
  for (const child of [...waiting, server]) child.kill("SIGKILL")
  return { ms, peak }
}

try {
  run("sample", "--model", "qwen3.5-vl", "--size", values.size, hf)
  run("import", "--hf-model", hf, "--megatron-path", megatron)
  const iteration = join(megatron, readdirSync(megatron).find((name) => name.startsWith("iter_"))!)
  const paths = files(iteration)
  const bytes = paths.reduce((sum, path) => sum + statSync(path).size, 0)
  const several = Number(values.consumers)
  const rounds = Array.from({ length: Number(values.repeats) }, () => ["tcp", "one", "several"] as const).flat().sort(() => Math.random() - 0.5)
  const times = { tcp: [] as Array<number>, one: [] as Array<number>, several: [] as Array<number> }
  const peaks: Array<number> = []
  for (const kind of rounds) {
    if (kind === "tcp") times.tcp.push(await tcpCopy(paths))
    else {
      const { ms, peak } = await served(kind === "one" ? 1 : several)
      times[kind].push(ms)
      peaks.push(peak)
    }
  }
  const [tcp, one, many] = [median(times.tcp), median(times.one), median(times.several)]
  const rate = (ms: number, copies = 1): string => `${((bytes * copies) / ms / 1e6).toFixed(2)} GB/s`
  const held = await served(3, 3)
  console.log(`${(bytes / 1e9).toFixed(2)} GB on ${values.dir}, loopback, process starts included`)
  console.log(`plain TCP copy        ${(tcp / 1000).toFixed(2)} s  ${rate(tcp)}`)
  console.log(`serve, one consumer   ${(one / 1000).toFixed(2)} s  ${rate(one)}  ${(tcp / one).toFixed(2)} of the copy`)
  console.log(`serve, ${several} consumers   ${(many / 1000).toFixed(2)} s  ${rate(many, several)} in all`)
  console.log(`server's peak memory  ${Math.max(...peaks).toFixed(0)} MB; with three consumers that take nothing ${held.peak.toFixed(0)} MB, three others served in ${(held.ms / 1000).toFixed(2)} s`)
} finally {
  rmSync(work, { recursive: true, force: true })
}
