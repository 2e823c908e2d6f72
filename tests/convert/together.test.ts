/** Conversions by several processes (here in one): the same bytes as by one, whatever their number. */
import { Effect } from "effect"
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { contributeExport, contributeImport, planningAlone, prepareExport, prepareImport, type RunOptions } from "../../src/api/conversions.ts"
import type { Limits } from "../../src/cluster/limits.ts"
import type { World } from "../../src/cluster/World.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import type { BridgeError } from "../../src/errors.ts"
import { Disk, type DiskCalls, type DiskFile } from "../../src/io/Disk.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { prepareRelabel } from "../../src/relabel/relabel.ts"
import { late, noDirectorySync } from "../cluster/harness/disks.ts"
import { everywhere, SHORT } from "../cluster/harness/worlds.ts"
import { makeDirectory, run, workDirectory } from "../relabel/checkpoints.ts"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { sumsOf } from "../trees.ts"

const work = workDirectory("together")
const [model, alone] = [join(work, "hf"), join(work, "alone")]
let number = 0
const place = (): string => join(work, `out-${number++}`)

const LIMITS = { ...SHORT, beat: 1000, silence: 30_000, planning: 30_000, step: 60_000 }

/** `use` in every rank; what each ended with. */
const job = <A, E extends BridgeError>(size: number, use: (rank: number) => Effect.Effect<A, E, World | Disk>, limits: Partial<Limits> = {}) => {
  const directory = makeDirectory(`${place()}-meeting`)
  return everywhere(size, use, () => ({ directory, limits: { ...LIMITS, ...limits } }))
}

const succeeding = async <A, E extends BridgeError>(size: number, use: Effect.Effect<A, E, World | Disk>): Promise<void> => {
  for (const end of await job(size, () => use)) if (end instanceof Error) throw end
}

const importing = (target: string, options: Partial<RunOptions> = {}) =>
  Effect.flatMap(prepareImport(model, { components: ["language=tp=2", "images=tp=1"] }), (prepared) => prepared.run(target, options))

/** The disk, and the data files that are written through it. */
const watchedDisk = (disk: DiskCalls, written: Set<string>): DiskCalls => ({
  ...disk,
  open: async (path, mode, options) => {
    const file = await disk.open(path, mode, options)
    return path.endsWith(".distcp") ? { ...file, write: (from, position) => { written.add(basename(path)); return file.write(from, position) } } : file
  }
})

it("as many processes as the layout has ranks: process r writes what rank r of the trainer would, those outside a component nothing of it", async () => {
  await run(writeSample(families, samples["qwen3.5-vl"]!.tiny, model, { overwrite: true }))
  const target = place()
  const sets = Array.from({ length: 6 }, () => new Set<string>())
  const layout = { components: ["language=tp=2,pp=2", "images=tp=2"] }
  const reports = await job(6, (rank) => Effect.flatMap(Disk, (disk) =>
    Effect.flatMap(prepareImport(model, layout), (prepared) => prepared.run(target, {})).pipe(Effect.provideService(Disk, watchedDisk(disk, sets[rank]!)))))
  for (const end of reports) if (end instanceof Error) throw end
  const files = Object.keys(sumsOf(target)).map((name) => basename(name)).filter((name) => name.endsWith(".distcp"))
  expect(files.length).toBeGreaterThan(6)
  expect(sets.map((set) => [...set].sort())).toEqual([0, 1, 2, 3, 4, 5].map((rank) => files.filter((name) => name.startsWith(`__${rank}_`))))
})

const FSYNC = expect.stringContaining("fsync of a directory")

it("a file system without fsync of directories is noted, by one process and by several, for which names come late, too", async () => {
  await run(writeSample(families, samples["qwen3.5-vl"]!.tiny, model, { overwrite: true }))
  const [target, other] = [place(), place()]
  const bare = await run(importing(target).pipe(Effect.provideService(Disk, noDirectorySync())))
  expect(bare.notes).toContainEqual(FSYNC)
  const ends = await job(3, (rank) => importing(other).pipe(Effect.provideService(Disk, rank === 0 ? noDirectorySync() : late(100, ".partial"))))
  for (const end of ends) if (end instanceof Error) throw end
  expect((ends[0] as { notes: ReadonlyArray<string> }).notes).toContainEqual(FSYNC)
  expect(sumsOf(other)).toEqual(sumsOf(target))
})

it("a process that sees another source is named, and nothing is written", async () => {
  const other = join(work, "other")
  await run(writeSample(families, samples["qwen3.5-vl"]!.tiny, model, { overwrite: true }))
  cpSync(model, other, { recursive: true })
  const config = JSON.parse(readFileSync(join(other, "config.json"), "utf8")) as object
  writeFileSync(join(other, "config.json"), JSON.stringify({ ...config, another: true }))
  const target = place()
  const ends = await job(3, (rank) => Effect.flatMap(prepareImport(rank === 2 ? other : model), (prepared) => prepared.run(target)))
  for (const end of ends) expect(end).toMatchObject({ message: expect.stringMatching(/rank \d does not have what rank \d has at "?the plan of the conversion"?: it sees another source, or was given other options/) })
  expect(existsSync(target)).toBe(false)
})

describe("processes that have not planned", () => {
  const layout = { components: ["language=tp=2,pp=2", "images=tp=2"] }
  /** The first process plans, the others do what it has written down. */
  const contributing = (target: string, size: number, own: { readonly model?: (rank: number) => string; readonly disk?: (rank: number, disk: DiskCalls) => DiskCalls } = {}) =>
    job(size, (rank) => Effect.flatMap(Disk, (disk) => {
      const hf = own.model?.(rank) ?? model
      const work = rank === 0 ? Effect.flatMap(planningAlone(prepareImport(hf, layout)), (prepared) => prepared.run(target)) : contributeImport(hf, layout, target)
      return (work as Effect.Effect<unknown, BridgeError, Disk>).pipe(Effect.provideService(Disk, own.disk?.(rank, disk) ?? disk))
    }))
  const planned = (target: string) => Effect.flatMap(planningAlone(prepareImport(model, layout)), (prepared) => prepared.run(target))

  beforeAll(async () => {
    rmSync(model, { recursive: true, force: true })
    await run(writeSample(families, { ...samples["qwen3.5-vl"]!.tiny, shardBytes: 1 }, model, { overwrite: true }))
  })

  it("write what one process writes, and open only what they read of it", async () => {
    const [target, one] = [place(), place()]
    const opened = Array.from({ length: 6 }, () => new Map<string, number>())
    const ends = await contributing(target, 6, {
      disk: (rank, disk) => ({
        ...disk,
        list: (path) => { if (path === model) opened[rank]!.set("(listed)", 1); return disk.list(path) },
        open: (path, mode, options) => {
          if (path.startsWith(model)) opened[rank]!.set(basename(path), (opened[rank]!.get(basename(path)) ?? 0) + 1)
          return disk.open(path, mode, options)
        }
      })
    })
    expect(ends.filter((end) => end instanceof Error)).toEqual([])
    await run(planned(one))
    expect(sumsOf(target)).toEqual(sumsOf(one))
    const shards = readdirSync(model).filter((name) => name.endsWith(".safetensors"))
    const shardsOf = (rank: number) => shards.filter((name) => opened[rank]!.has(name))
    expect(shards.length).toBeGreaterThan(20)
    expect(shardsOf(0).length).toBe(shards.length)
    // Every header is read by one process to plan; of the others each looks only at the files of its own part.
    for (const rank of [1, 2, 3, 4, 5]) {
      expect(shardsOf(rank).length).toBeLessThan(shards.length / 2)
      expect([...opened[rank]!.keys()].filter((name) => !name.endsWith(".safetensors"))).toEqual(["config.json"])
    }
  })

  it("export as one does, checksums of the items included", async () => {
    const [megatron, target, one] = [place(), place(), place()]
    await run(planned(megatron))
    const work = (to: string) => Effect.flatMap(planningAlone(prepareExport(model, megatron)), (prepared) => prepared.run(to))
    const ends = await job(3, (rank) => (rank === 0 ? Effect.asVoid(work(target)) : contributeExport(model, megatron, {}, target)))
    expect(ends.filter((end) => end instanceof Error)).toEqual([])
    await run(work(one))
    expect(sumsOf(target)).toEqual(sumsOf(one))
    // A damaged item is found by whoever reads it.
    const items = readdirSync(megatron, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".distcp")).map((name) => join(megatron, name))
    const largest = items.sort((a, b) => statSync(b).size - statSync(a).size)[0]!
    const bytes = readFileSync(largest)
    bytes[Math.floor(bytes.length / 2)]! ^= 1
    writeFileSync(largest, bytes)
    const other = place()
    const failed = await job(3, (rank) => (rank === 0 ? Effect.asVoid(work(other)) : contributeExport(model, megatron, {}, other)))
    expect((failed[0] as { code?: string }).code).toBe("checkpoint/crc")
    expect(existsSync(other)).toBe(false)
  })

  it("of which one sees another file: it is named, and nothing is published", async () => {
    const other = join(work, "other-header")
    cpSync(model, other, { recursive: true })
    for (const name of readdirSync(other).filter((file) => file.endsWith(".safetensors"))) {
      const bytes = readFileSync(join(other, name))
      // A space of the header's padding, or of its JSON: the same tensors in other words.
      const at = bytes.indexOf("{", 8)
      bytes[at + bytes.readUInt32LE(0) - 1] = 0x0a
      writeFileSync(join(other, name), bytes)
    }
    const target = place()
    const ends = await contributing(target, 3, { model: (rank) => (rank === 2 ? other : model) })
    expect(ends.map((end) => (end as { code?: string }).code)).toEqual(["peer/failed", "peer/failed", "launch/source"])
    expect((ends[0] as Error).message).toMatch(/rank 2 .*sees another source than rank 0.*safetensors.*does not begin here as it does for rank 0/)
    expect(existsSync(target)).toBe(false)
  })

  it("for which orders were tampered with: they do nothing of it", async () => {
    const target = place()
    const tampering = (disk: DiskCalls): DiskCalls => ({
      ...disk,
      open: async (path, mode, options) => {
        const file = await disk.open(path, mode, options)
        if (!/orders\.[0-9a-f]{8}$/.test(path)) return file
        return { ...file, read: async (into, position) => { const n = await file.read(into, position); into[n - 1]! ^= 1; return n } }
      }
    })
    const ends = await contributing(target, 3, { disk: (rank, disk) => (rank === 1 ? tampering(disk) : disk) })
    expect(ends.map((end) => (end as { code?: string }).code)).toEqual(["peer/failed", "cluster/orders", "peer/failed"])
    expect(existsSync(target)).toBe(false)
  })

  it("plan after all where the first one cannot write it down: a file is read that lies in no directory that all were given", async () => {
    const [megatron, target, one] = [place(), place(), place()]
    await run(Effect.flatMap(prepareImport(model, { ...layout, mtp: "drop" }), (prepared) => prepared.run(megatron)))
    const beside = place()
    cpSync(model, beside, { recursive: true })
    const request = { mtpFrom: join(beside, "model.safetensors.index.json") }
    const work = (to: string) => Effect.flatMap(planningAlone(prepareExport(model, megatron, request)), (prepared) => prepared.run(to))
    const planning = new Set<number>()
    const ends = await job(3, (rank) => Effect.flatMap(Disk, (disk) =>
      (rank === 0 ? Effect.asVoid(work(target)) : contributeExport(model, megatron, request, target)).pipe(Effect.provideService(Disk, {
        ...disk,
        open: (path, mode, options) => {
          if (path.endsWith(".metadata")) planning.add(rank)
          return disk.open(path, mode, options)
        }
      } satisfies DiskCalls))))
    expect(ends.filter((end) => end instanceof Error)).toEqual([])
    expect(planning).toEqual(new Set([0, 1, 2]))
    await run(work(one))
    expect(sumsOf(target)).toEqual(sumsOf(one))
  })

  it("of another request: refused before anything is written", async () => {
    const target = place()
    const ends = await job(3, (rank) => (rank === 0 ? Effect.asVoid(planned(target)) : contributeImport(model, rank === 1 ? layout : { ...layout, torchDtype: "float32" }, target)))
    for (const end of ends) expect(end).toMatchObject({ message: expect.stringMatching(/rank \d does not have what rank \d has at "?the plan of the conversion/) })
    expect(existsSync(target)).toBe(false)
  })
})

/** Small is some 100 MB: its files have several cells, and arrays lie across their borders. */
describe.each(["tiny", "small"] as const)("a %s model", (size) => {
  beforeAll(async () => {
    for (const path of [model, alone]) rmSync(path, { recursive: true, force: true })
    await run(writeSample(families, samples["qwen3.5-vl"]![size], model, { overwrite: true }))
    await run(importing(alone))
  })

  it.each([2, 5])("is imported by %s processes to what one writes, checksums included", async (processes) => {
    const target = place()
    await succeeding(processes, importing(target))
    expect(sumsOf(target)).toEqual(sumsOf(alone))
  })

  it("is exported to what was imported", async () => {
    const target = place()
    await succeeding(3, Effect.flatMap(prepareExport(model, alone), (prepared) => prepared.run(target)))
    expect(sumsOf(target)).toEqual(sumsOf(model))
  })

  it("is relabelled to what one process writes", async () => {
    const [target, other] = [place(), place()]
    const relabelling = (to: string) => Effect.flatMap(prepareRelabel(families, alone, { to: ["standard"], layout: (names) => resolveLayout([], names) }), (prepared) => prepared.run(to, { link: false, overwrite: false }))
    await run(relabelling(other))
    await succeeding(3, relabelling(target))
    expect(sumsOf(target)).toEqual(sumsOf(other))
  })

  it("of which one process is slow: another writes its part, too, and nothing is published before it has left off", async () => {
    const target = place()
    const whole = Object.keys(sumsOf(alone)).filter((name) => name.endsWith(".distcp")).reduce((sum, name) => sum + statSync(join(alone, name)).size, 0)
    const enough = Promise.withResolvers<void>()
    let written = 0
    let waited = false
    const counting = (file: DiskFile, rank: number): DiskFile => ({
      ...file,
      write: async (from, position) => {
        if (rank === 1) {
          waited = true
          // The other has written everything: also what this one is at.
          await enough.promise
          expect(existsSync(target)).toBe(false)
        }
        const count = await file.write(from, position)
        if (rank === 0 && (written += count) >= whole) enough.resolve()
        return count
      }
    })
    const slow = (rank: number) => Effect.flatMap(Disk, (disk) => importing(target).pipe(Effect.provideService(Disk, {
      ...disk,
      open: async (path, mode, options) => {
        const file = await disk.open(path, mode, options)
        return path.endsWith(".distcp") ? counting(file, rank) : file
      }
    } satisfies DiskCalls)))
    const ends = await job(2, slow, { lease: 400 })
    expect(ends.filter((end) => end instanceof Error)).toEqual([])
    expect([waited, sumsOf(target)]).toEqual([true, sumsOf(alone)])
  })

  it("of which one process cannot write its share: all end, and another number of processes goes on", async () => {
    const target = place()
    const failing = (rank: number) => Effect.flatMap(Disk, (disk) => {
      let writes = 0
      const faulty = faultyDisk(disk, ({ operation, path }) => (operation === "write" && path.endsWith(".distcp") && writes++ >= (size === "tiny" ? 0 : 3) ? { errno: "EIO" } : undefined))
      return importing(target).pipe(Effect.provideService(Disk, rank === 1 ? faulty : disk))
    })
    const ends = await job(3, failing)
    expect(ends.map((end) => (end as { code?: string }).code)).toEqual(["peer/failed", "io/EIO", "peer/failed"])
    expect(existsSync(target)).toBe(false)
    const reports = await job(2, () => importing(target, { resume: true }))
    expect((reports[0] as { notes: ReadonlyArray<string> }).notes.join("\n")).toMatch(/resumed: [\d.]+ MB/)
    expect(sumsOf(target)).toEqual(sumsOf(alone))
  })
})
