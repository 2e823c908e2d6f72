/**
 * `npm run bench:remote [-- --size 1GB --delay 40 --rate 1000 --dir DIR --repeats N]`: an import by ranges from a server that answers after
 * `delay` ms and sends at most `rate` MB/s over all connections, beside what that link gives to a plain download of the same bytes by as
 * many connections; medians, in shuffled rounds. The server is a process of its own.
 */
import { execFileSync, fork, spawn } from "node:child_process"
import { createServer } from "node:http"
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "1GB" }, delay: { type: "string", default: "40" }, rate: { type: "string", default: "1000" },
    dir: { type: "string", default: "/dev/shm" }, repeats: { type: "string", default: "3" }, serve: { type: "string" }
  }
})

const PART = 256 << 10

/** Serves a directory: every answer begins after the delay; all share the rate. */
const serve = (directory: string): void => {
  const perMillisecond = Number(values.rate) * 1000
  let free = 0
  const server = createServer((request, response) => {
    void (async () => {
      await sleep(Number(values.delay))
      const path = join(directory, decodeURIComponent(new URL(request.url!, "http://x").pathname))
      const size = statSync(path, { throwIfNoEntry: false })?.size
      if (size === undefined) return response.writeHead(404).end()
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
      if (request.method === "HEAD") return response.writeHead(200, { "content-length": size }).end()
      const start = Number(first ?? 0)
      const end = Math.min(size, Number(last ?? size - 1) + 1)
      response.writeHead(first === undefined ? 200 : 206, { etag: `"${size}"`, "content-length": end - start, "content-range": `bytes ${start}-${end - 1}/${size}` })
      const file = openSync(path, "r")
      await pipeline(async function*() {
        for (let at = start; at < end;) {
          const part = Buffer.allocUnsafe(Math.min(PART, end - at))
          at += readSync(file, part, 0, part.byteLength, at)
          const now = performance.now()
          free = Math.max(now, free) + part.byteLength / perMillisecond
          if (free > now + 1) await sleep(free - now)
          yield part
        }
      }, response).catch(() => {})
      closeSync(file)
    })()
  })
  server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port))
}

interface Run {
  readonly seconds: number
  /** Most resident bytes. */
  readonly memory: number
  /** Seconds that its threads were computing, together. */
  readonly busy: number
}

const median = (numbers: ReadonlyArray<number>): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!

/** A plain reader of everything, 64 connections, ranges of 8 MiB. */
const DOWNLOAD = `
import { Agent, get } from "node:http"
const [origin, ...files] = process.argv.slice(1)
const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const parts = files.flatMap((f) => { const [name, size] = f.split(":"); return Array.from({ length: Math.ceil(size / 8388608) }, (_, i) => [name, i * 8388608, Math.min(size, (i + 1) * 8388608)]) })
let next = 0
await Promise.all(Array.from({ length: 64 }, async () => {
  while (next < parts.length) {
    const [name, start, end] = parts[next++]
    await new Promise((resolve, reject) => get(origin + "/" + name, { agent, headers: { range: "bytes=" + start + "-" + (end - 1) } }, (r) => r.on("data", () => {}).on("end", resolve).on("error", reject)).on("error", reject))
  }
}))
process.exit(0)
`

const bench = async (): Promise<void> => {
  const root = new URL("../..", import.meta.url).pathname
  const bin = join(root, "dist/bin.js")
  const work = mkdtempSync(join(values.dir, "remote-"))
  process.on("exit", () => rmSync(work, { recursive: true, force: true }))
  const hf = join(work, "hf")
  execFileSync(process.execPath, [bin, "sample", "--model", "qwen3.5-vl", "--size", values.size, hf, "--quiet"], { stdio: "inherit" })
  const server = fork(new URL(import.meta.url).pathname, ["--serve", hf, "--delay", values.delay, "--rate", values.rate])
  const port = await new Promise<number>((resolve) => server.once("message", (message) => resolve(message as number)))
  const origin = `http://127.0.0.1:${port}`
  const weights = readdirSync(hf).filter((name) => name.endsWith(".safetensors")).map((name) => [name, statSync(join(hf, name)).size] as const)
  const bytes = weights.reduce((sum, [, size]) => sum + size, 0)
  const timed = async (program: string, args: ReadonlyArray<string>): Promise<Run> => {
    const start = performance.now()
    let [memory, ticks] = [0, 0]
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], cwd: root })
    const watch = setInterval(() => {
      try {
        memory = Math.max(memory, Number(readFileSync(`/proc/${child.pid}/statm`, "utf8").split(" ")[1]) * 4096)
        ticks = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(" ").slice(13, 15).reduce((sum, n) => sum + Number(n), 0)
      } catch { /* it has ended */ }
    }, 20)
    const code = await new Promise((resolve) => child.on("close", resolve))
    clearInterval(watch)
    if (code !== 0) throw new Error(`${args.join(" ")}: exit code ${String(code)}`)
    return { seconds: (performance.now() - start) / 1000, memory, busy: ticks / 100 }
  }
  const steps = {
    "plain download": () => timed(process.execPath, ["--input-type=module", "-e", DOWNLOAD, origin, ...weights.map(([name, size]) => `${name}:${size}`)]),
    "import by ranges": () => {
      rmSync(join(work, "out"), { recursive: true, force: true })
      return timed(process.execPath, [bin, "import", "--hf-model", `${origin}/`, "--megatron-path", join(work, "out"), "--quiet"])
    }
  }
  const found = new Map<string, Array<Run>>()
  for (let round = 0; round < Number(values.repeats); round++) {
    for (const [name, step] of Object.entries(steps).sort(() => Math.random() - 0.5)) found.set(name, [...found.get(name) ?? [], await step()])
  }
  server.kill()
  const row = (name: string, ...cells: ReadonlyArray<string | number>): void => console.log(`| ${[name, ...cells].join(" | ")} |`)
  console.log(`${values.size}, ${values.delay} ms, at most ${values.rate} MB/s, in ${values.dir}\n\n| | s | GB/s | s of processor for a GB | peak memory, MB |\n| --- | ---: | ---: | ---: | ---: |`)
  for (const name of Object.keys(steps)) {
    const runs = found.get(name)!
    const seconds = median(runs.map((run) => run.seconds))
    row(name, seconds.toFixed(2), (bytes / 1e9 / seconds).toFixed(2), (median(runs.map((run) => run.busy)) / (bytes / 1e9)).toFixed(2), Math.round(Math.max(...runs.map(({ memory }) => memory)) / 1e6))
  }
}

if (values.serve !== undefined) serve(values.serve)
else await bench()
