/** What each of several processes does of a conversion, and what it costs: for plans and reports. */
import { rankOf } from "../checkpoint/names.ts"
import { type RankRun, runsOf } from "../cluster/rankRuns.ts"
import { type EngineLimits, type EngineOptions, settingsOf, type TargetFile } from "../engine/index.ts"
import type { Layout } from "../parallel/Layout.ts"
import { rankCount } from "../parallel/ModuleParallelism.ts"
import { groupOf, processGroupKinds } from "../parallel/ProcessGroups.ts"
import type { ConversionReport, ProcessesPlan, ProcessPlan } from "../plan/Report.ts"
import { unitsOf } from "./units.ts"

/** How each of several processes of one machine runs if nobody says: they share the cores, and memory for buffers adds up. */
export const SHARED_ENGINE = { threads: 0, maxMemory: 32 << 20 } as const satisfies EngineLimits

/** What one process writes, before anybody is slow. */
export interface ProcessShare {
  readonly rank: number
  /** Names of the files, or of those in which it has a part, in the order of the plan. */
  readonly files: ReadonlyArray<string>
  readonly bytes: number
}

/** Shares of all processes, by rank; `layoutRanks` as in `Payload`. */
export const sharesOf = (files: ReadonlyArray<TargetFile>, processes: number, layoutRanks?: number): ReadonlyArray<ProcessShare> => {
  const shares = Array.from({ length: processes }, (_, rank) => ({ rank, files: new Set<string>(), bytes: 0 }))
  for (const { bytes, owner, portion } of unitsOf(files, processes, layoutRanks)) {
    const share = shares[owner]!
    share.bytes += bytes
    for (const name of portion.keys()) share.files.add(name)
  }
  const order = new Map(files.map(({ name }, i) => [name, i]))
  return shares.map((share) => ({ ...share, files: [...share.files].sort((a, b) => order.get(a)! - order.get(b)!) }))
}

/** Node, the program and its heap; 95 to 130 MB were measured (docs/performance.md). */
const PROGRAM = 125e6
const EACH_THREAD = 12e6
/** What planning and the engine keep of a tensor: 500 MB more with 100 000 of them. */
const EACH_TENSOR = 5000

/** Bytes of memory that one process of a conversion takes at most: the program, buffers, threads, and the plan of so many tensors. */
export const memoryOfProcess = (engine: EngineOptions, tensors: number): number => {
  const { memory, threads } = settingsOf(engine)
  return PROGRAM + memory + threads * EACH_THREAD + tensors * EACH_TENSOR
}

/** The number of processes, and the engine of each. */
export interface SharedBy {
  readonly processes: number
  readonly engine: EngineOptions
}

type LaidOutComponent = Layout["components"][number]

const componentAt = ({ components }: Layout, rank: number): LaidOutComponent | undefined =>
  components.find(({ parallelism: { rankOffset, ...sizes } }) => rank >= rankOffset && rank < rankOffset + rankCount(sizes))

const groupsAt = ({ parallelism }: LaidOutComponent, rank: number): NonNullable<ProcessPlan["groups"]> =>
  Object.fromEntries(processGroupKinds.flatMap((kind): ReadonlyArray<readonly [string, ReadonlyArray<RankRun>]> => {
    const group = groupOf(parallelism, kind, rank)
    return group === undefined ? [] : [[kind, runsOf(group)]]
  }))

/** The report of a plan with who writes what of `files`. `layout`: that of an import. */
export const withProcesses = (report: ConversionReport, files: ReadonlyArray<TargetFile>, { engine, processes }: SharedBy, layout?: Layout): ConversionReport => {
  const memoryOfEach = memoryOfProcess(engine, Math.max(report.sourceTensors, report.targetTensors))
  const each = sharesOf(files, processes, layout?.worldSize).map(({ bytes, files: names, rank }): ProcessPlan => {
    const component = layout?.worldSize === processes ? componentAt(layout, rank) : undefined
    const own = component ? [component.name] : layout === undefined ? [] : names.flatMap((name) => componentAt(layout, rankOf(name)?.rank ?? -1)?.name ?? [])
    return { rank, components: [...new Set(own)], ...(component ? { groups: groupsAt(component, rank) } : {}), files: names, bytes }
  })
  return { ...report, processes: { each, memoryOfEach, memoryInAll: processes * memoryOfEach } satisfies ProcessesPlan }
}
