/**
 * A plan that one process makes for many: 100 000 tensors (2.2 TB, holes) imported by 1 024 processes. What planning costs, what is written down
 * for the others, and what one of them needs that reads its orders instead of planning.
 *
 *     node scripts/bench/orders.ts [--ranks 1024] [--layers 65] [--experts 512] [--dir DIR]
 */
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { type Payload, readBack, writeDown } from "../../src/convert/orders/written.ts"
import type { OrdersPlace } from "../../src/cluster/WorkOrders.ts"
import { CELL } from "../../src/engine/index.ts"
import { Disk, type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { openHfSource } from "../../src/space/HfSource.ts"
import { headerBytes, shardStates } from "../../src/convert/sourceStates.ts"
import { writeHoles } from "./holes.ts"

// As the command line does: memory that is in use, not what the collector leaves lying about.
for (const flag of ["--semi-space-growth-factor=1", "--heap-growing-percent=50"]) setFlagsFromString(flag)

const { values } = parseArgs({ options: { ranks: { type: "string", default: "1024" }, layers: { type: "string", default: "65" }, experts: { type: "string", default: "512" }, dir: { type: "string" }, step: { type: "string" }, told: { type: "string" } } })
const ranks = Number(values.ranks)
const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-orders-"))
const [hf, folder] = [join(work, "hf"), join(work, "folder")]
const RUN = "0".repeat(8)
const roots = { model: hf }

const opened = new Set<string>()
const counting: DiskCalls = { ...nodeCalls, open: (path, mode, how) => { if (path.endsWith(".safetensors")) opened.add(path); return nodeCalls.open(path, mode, how) } }
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provideService(effect, Disk, counting))
/** Of the processor, and by the clock. */
const seconds = async <A>(use: () => Promise<A>): Promise<readonly [string, A]> => {
  const [started, before] = [performance.now(), process.cpuUsage()]
  const value = await use()
  const { system, user } = process.cpuUsage(before)
  return [`${((user + system) / 1e6).toFixed(2)} s of the processor, ${((performance.now() - started) / 1000).toFixed(2)} s by the clock`, value]
}
const peak = (): number => Math.round(process.resourceUsage().maxRSS / 1024)

const plan = async () => {
  const [planning, prepared] = await seconds(() => run(prepareImport(families, hf, { form: "standard", layout: () => standardLayout({ tp: 2, ep: 8 }), torchDtype: "source", mtp: "keep", allowUnmapped: [], step: 0 })))
  const planPeak = peak()
  const { files } = prepared.plan.checkpoint
  const { weights } = await run(openHfSource(hf))
  const payload: Payload = { files, states: shardStates(weights), headers: headerBytes(weights), layoutRanks: prepared.plan.layout.worldSize }
  const [writing, { place }] = await seconds(() => run(writeDown({ disk: counting, folder, run: RUN, processes: ranks, cell: CELL }, payload, { job: { ingredients: [] }, roots })))
  return { place, planning, planPeak, writing, files: opened.size, targetBytes: files.reduce((sum, { size }) => sum + size, 0), orders: statSync(join(folder, place.name)).size, index: place.bytes }
}

const follow = async () => {
  const before = peak()
  const [reading, { segments, units }] = await seconds(() => run(Effect.gen(function*() {
    const { own } = yield* readBack(counting, folder, JSON.parse(values.told!) as OrdersPlace, roots)
    const mine = own.units.flatMap(({ owner }, unit) => (owner === ranks >> 1 ? [unit] : []))
    let count = 0
    for (const unit of mine) for (const file of (yield* own.work(unit)).files) count += file.segments.length
    return { segments: count, units: mine.length }
  })))
  return { reading, segments, units, before, peak: peak(), files: opened.size }
}

const child = <A>(step: string, told?: unknown): A =>
  JSON.parse(execFileSync(process.execPath, [import.meta.filename, "--dir", work, "--ranks", values.ranks, "--step", step, ...(told === undefined ? [] : ["--told", JSON.stringify(told)])], { encoding: "utf8" })) as A

if (values.step === "plan") console.log(JSON.stringify(await plan()))
else if (values.step === "follow") console.log(JSON.stringify(await follow()))
else {
  mkdirSync(folder, { recursive: true })
  try {
    const { config } = samples["qwen3-moe"]!.tiny
    writeHoles(hf, {
      config: { ...config, hidden_size: 4096, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 128, moe_intermediate_size: 2688, num_hidden_layers: Number(values.layers), num_experts: Number(values.experts) },
      fp32: /(?!)/,
      shardBytes: 4e9
    })
    const planned = child<Awaited<ReturnType<typeof plan>>>("plan")
    const followed = child<Awaited<ReturnType<typeof follow>>>("follow", planned.place)
    console.log(`rank 0: ${(planned.targetBytes / 1e12).toFixed(2)} TB planned in ${planned.planning} (${planned.files} files opened, ${planned.planPeak} MiB at most)`)
    console.log(`rank 0: orders for ${ranks} processes written in ${planned.writing}: ${(planned.orders / 1e6).toFixed(1)} MB and an index of ${(planned.index / 1e3).toFixed(0)} kB`)
    console.log(`another: its ${followed.units} units (${followed.segments} segments) read in ${followed.reading}, ${followed.files} files opened, ${followed.peak - followed.before} MiB above the ${followed.before} MiB of the program`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
