/**
 * A job of many simulated ranks on one machine: every rank joins over a WebSocket of its own, takes part in a barrier, reports progress,
 * sends a value and leaves. The coordinator runs in this process, the ranks in a few children.
 *
 *     node scripts/bench/ranks.ts [--ranks 4096] [--json]
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import { LIMITS } from "../../src/cluster/limits.ts"
import { Member } from "../../src/cluster/Member.ts"
import { openSession, type SessionOptions } from "../../src/cluster/ws/session.ts"

// As the command line does: memory that is in use, not what the collector leaves lying about.
for (const flag of ["--semi-space-growth-factor=1", "--heap-growing-percent=50"]) setFlagsFromString(flag)

const { values } = parseArgs({ options: { ranks: { type: "string", default: "4096" }, json: { type: "boolean", default: false }, child: { type: "string" }, from: { type: "string" }, to: { type: "string" } } })
const world = Number(values.ranks)
const CHILDREN = 4

const options = (rank: number, directory: string): SessionOptions => ({
  launch: { rank, worldSize: world, launcher: "flags", localSize: world, runId: "bench", attempt: 0 },
  run: { run: "bench", attempt: 0 },
  rendezvous: { kind: "directory", path: directory, tls: false },
  plan: "plan", version: "bench", limits: { ...LIMITS, join: 60_000 }, env: {}
})

const members: ReadonlyArray<readonly [number, number, number]> = [[0, world, 1]]
const never = new AbortController().signal

/** What one rank does. */
const life = async (rank: number, directory: string, marks: (name: string) => void = () => {}): Promise<void> => {
  const session = await openSession(options(rank, directory), never)
  const { member }: { member: Member } = session
  marks("joined")
  await member.step("world#0", "barrier", "begun", members, null, 60_000)
  marks("barrier")
  member.progress(1_000_000)
  const gathered = await member.step("world#1", "gather", "sums", members, { files: 3, crc: rank }, 60_000)
  if (rank === 0 && (gathered as ReadonlyArray<unknown>).length !== world) throw new Error("values are missing")
  marks("gathered")
  await session.close(undefined)
  marks("left")
}

if (values.child !== undefined) {
  const ranks = Array.from({ length: Number(values.to) - Number(values.from) }, (_, index) => Number(values.from) + index)
  await Promise.all(ranks.map((rank) => life(rank, values.child!)))
  process.disconnect()
} else {
  const directory = mkdtempSync(join(tmpdir(), "ranks-"))
  const started = performance.now()
  const rest = world - 1
  const children = Array.from({ length: CHILDREN }, (_, index) => {
    const at = (part: number): string => String(1 + Math.floor(rest * part / CHILDREN))
    return fork(import.meta.filename, ["--ranks", String(world), "--child", directory, "--from", at(index), "--to", at(index + 1)])
  })
  const ends = children.map((child) => once(child, "exit"))
  const times: Record<string, number> = {}
  await life(0, directory, (name) => { times[name] = (performance.now() - started) / 1000 })
  const codes = (await Promise.all(ends)).map(([code]) => code as number)
  rmSync(directory, { recursive: true, force: true })
  if (codes.some((code) => code !== 0)) throw new Error(`children ended with ${codes.join(", ")}`)
  const peak = process.resourceUsage().maxRSS / 1024
  const result = { ranks: world, barrierSeconds: times["barrier"]!, gatheredSeconds: times["gathered"]!, leftSeconds: times["left"]!, coordinatorMiB: Math.round(peak) }
  if (values.json) console.log(JSON.stringify(result))
  else console.log(`${world} ranks: all joined and through a barrier in ${times["barrier"]!.toFixed(1)} s, values gathered at ${times["gathered"]!.toFixed(1)} s, all left at ${times["left"]!.toFixed(1)} s; coordinator ${peak.toFixed(0)} MiB at most`)
}
