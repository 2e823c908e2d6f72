/**
 * Which process of a job this is, as its launcher says.
 *
 * Nothing here starts, places or restarts a process: torchrun, Slurm, MPI and Kubernetes do, and tell each process who it is by
 * environment variables.
 */
import { LaunchError, quote } from "../errors.ts"
import { MAX_RANKS } from "../parallel/ModuleParallelism.ts"
import type { Environment } from "../websocket/Environment.ts"
import { firstHost, tasksOfNode } from "./nodeList.ts"

/** What the command line says; every part optional. */
export interface LaunchFlags {
  readonly rank?: number | undefined
  readonly worldSize?: number | undefined
}

export type Launcher = "flags" | "variables" | "torchrun" | "RANK and WORLD_SIZE" | "Open MPI" | "PMI" | "Slurm" | "Kubernetes" | "none"

/** A process of a job: its place, and what its launcher says of the job. */
export interface Launch {
  /** From 0. */
  readonly rank: number
  readonly worldSize: number
  /** Who gave the rank. */
  readonly launcher: Launcher
  /** Index and number of the processes on this host, where the launcher says so. */
  readonly localRank?: number
  readonly localSize?: number
  /** Index of the host, where the launcher says so. */
  readonly nodeRank?: number
  /** Where rank 0 runs: host name or address. */
  readonly master?: string
  /** A port that must not be listened on: the store of torchrun's agent has it. */
  readonly takenPort?: number
  /** The same in all processes of the job and another in every other job; undefined where the launcher gives none. */
  readonly runId?: string
  /** How often the job was started again. */
  readonly attempt: number
}

/** Our own variables, for launchers that are not known here. */
export const VARIABLES = {
  rank: "MEGATRON_MIMO_RANK",
  worldSize: "MEGATRON_MIMO_WORLD_SIZE",
  runId: "MEGATRON_MIMO_RUN_ID",
  attempt: "MEGATRON_MIMO_ATTEMPT"
} as const

/** A number and who said it. */
interface Said {
  readonly value: number
  readonly by: string
}

/** What one source says. */
interface Statement extends Partial<Omit<Launch, "rank" | "worldSize" | "launcher">> {
  readonly launcher: Launcher
  readonly rank?: Said | undefined
  readonly worldSize?: Said | undefined
}

/** slurm.h: the batch script, the interactive and the external step have numbers from SLURM_PENDING_STEP on; no task of theirs is a rank. */
const FIRST_SPECIAL_STEP = 0xfffffff0

const refuse = (code: string, problem: string, hint?: string): never => {
  throw new LaunchError({ code: `launch/${code}`, problem, ...(hint === undefined ? {} : { hint }) })
}

/** A whole number in a variable; undefined if it is not set. */
const numberIn = (env: Environment, name: string, most: number): number | undefined => {
  const text = env[name]
  if (text === undefined || text === "") return undefined
  const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN
  return number <= most ? number : refuse("value", `${name} is ${quote(text)}, which is no whole number from 0 to ${most}`)
}

const said = (env: Environment, name: string): Said | undefined => {
  const value = numberIn(env, name, MAX_RANKS)
  return value === undefined ? undefined : { value, by: `${name}=${value}` }
}

/** Leaves out what is undefined. */
const given = <A extends object>(fields: A): { [K in keyof A]?: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const fromFlags = ({ rank, worldSize }: LaunchFlags): Statement => ({
  launcher: "flags",
  rank: rank === undefined ? undefined : { value: rank, by: `--rank ${rank}` },
  worldSize: worldSize === undefined ? undefined : { value: worldSize, by: `--world-size ${worldSize}` }
})

const fromVariables = (env: Environment): Statement => ({
  launcher: "variables",
  rank: said(env, VARIABLES.rank),
  worldSize: said(env, VARIABLES.worldSize),
  ...given({ runId: env[VARIABLES.runId] || undefined, attempt: numberIn(env, VARIABLES.attempt, MAX_RANKS) })
})

/** torchrun, and whoever sets the same variables without an agent (PyTorchJob). */
const fromTorch = (env: Environment): Statement | undefined => {
  if (env["RANK"] === undefined && env["WORLD_SIZE"] === undefined) return undefined
  const agent = isElastic(env)
  return {
    launcher: agent ? "torchrun" : "RANK and WORLD_SIZE",
    rank: said(env, "RANK"),
    worldSize: said(env, "WORLD_SIZE"),
    ...given({
      localRank: numberIn(env, "LOCAL_RANK", MAX_RANKS),
      localSize: numberIn(env, "LOCAL_WORLD_SIZE", MAX_RANKS),
      nodeRank: numberIn(env, "GROUP_RANK", MAX_RANKS),
      master: env["MASTER_ADDR"] || undefined,
      takenPort: env["TORCHELASTIC_USE_AGENT_STORE"] === "True" ? numberIn(env, "MASTER_PORT", 65_535) : undefined,
      runId: env["TORCHELASTIC_RUN_ID"] || undefined,
      attempt: numberIn(env, "TORCHELASTIC_RESTART_COUNT", MAX_RANKS)
    })
  }
}

const isElastic = (env: Environment): boolean => env["TORCHELASTIC_RUN_ID"] !== undefined

/** Open MPI. Its NODE_RANK is the rank on the node, not the node's. */
const fromOpenMpi = (env: Environment): Statement | undefined =>
  env["OMPI_COMM_WORLD_RANK"] === undefined ? undefined : {
    launcher: "Open MPI",
    rank: said(env, "OMPI_COMM_WORLD_RANK"),
    worldSize: said(env, "OMPI_COMM_WORLD_SIZE"),
    ...given({
      localRank: numberIn(env, "OMPI_COMM_WORLD_LOCAL_RANK", MAX_RANKS),
      localSize: numberIn(env, "OMPI_COMM_WORLD_LOCAL_SIZE", MAX_RANKS),
      runId: env["PMIX_NAMESPACE"] || undefined
    })
  }

/** MPICH and Intel MPI (hydra). */
const fromPmi = (env: Environment): Statement | undefined =>
  env["PMI_RANK"] === undefined ? undefined : {
    launcher: "PMI",
    rank: said(env, "PMI_RANK"),
    worldSize: said(env, "PMI_SIZE"),
    ...given({ localRank: numberIn(env, "MPI_LOCALRANKID", MAX_RANKS), localSize: numberIn(env, "MPI_LOCALNRANKS", MAX_RANKS) })
  }

/** A task of a step. A login shell, `salloc` and a batch script have SLURM_ variables, too, but no rank. */
const fromSlurm = (env: Environment): Statement | undefined => {
  const step = env["SLURM_STEP_ID"]
  if (!step || !env["SLURM_PROCID"] || !/^[0-9]+$/.test(step) || Number(step) >= FIRST_SPECIAL_STEP) return undefined
  const nodeRank = numberIn(env, "SLURM_NODEID", MAX_RANKS)
  const tasks = env["SLURM_STEP_TASKS_PER_NODE"]
  const list = env["SLURM_STEP_NODELIST"]
  return {
    launcher: "Slurm",
    rank: said(env, "SLURM_PROCID"),
    worldSize: said(env, "SLURM_STEP_NUM_TASKS") ?? said(env, "SLURM_NTASKS"),
    ...given({
      localRank: numberIn(env, "SLURM_LOCALID", MAX_RANKS),
      localSize: tasks === undefined ? undefined : tasksOfNode(tasks, nodeRank ?? 0),
      nodeRank,
      master: list ? firstHost(list) : undefined,
      runId: env["SLURM_JOB_ID"] ? `${env["SLURM_JOB_ID"]}.${step}` : undefined,
      attempt: numberIn(env, "SLURM_RESTART_COUNT", MAX_RANKS)
    })
  }
}

/** A pod of an Indexed Job; how many there are is not said. Its host name is the Job's name and the index. */
const fromKubernetes = (env: Environment): Statement | undefined => {
  const index = env["JOB_COMPLETION_INDEX"]
  if (!index || env["KUBERNETES_SERVICE_HOST"] === undefined) return undefined
  const host = env["HOSTNAME"] ?? ""
  return {
    launcher: "Kubernetes",
    rank: said(env, "JOB_COMPLETION_INDEX"),
    localRank: 0,
    localSize: 1,
    ...given({
      nodeRank: numberIn(env, "JOB_COMPLETION_INDEX", MAX_RANKS),
      runId: host.endsWith(`-${index}`) && host.length > index.length + 1 ? host.slice(0, -index.length - 1) : undefined
    })
  }
}

/** The innermost of several launchers: `mpirun` in a Slurm allocation is right where Slurm describes the daemons it started. */
const innermost = (env: Environment): Statement | undefined =>
  fromOpenMpi(env) ?? fromPmi(env) ?? fromSlurm(env) ?? fromKubernetes(env)

/** In the order in which they are believed. */
const statements = (flags: LaunchFlags, env: Environment): ReadonlyArray<Statement> => {
  const torch = fromTorch(env)
  // torchrun's agents are what Slurm, MPI or Kubernetes started: their numbers count agents.
  const launcher = torch?.launcher === "torchrun" ? undefined : innermost(env)
  return [fromFlags(flags), fromVariables(env), torch, launcher].filter((statement) => statement !== undefined)
}

const LONGEST_RUN_ID = 256

/**
 * Rank, world and run of this process: flags, then our own variables, then RANK and WORLD_SIZE, then the innermost launcher.
 *
 * **Gotchas**
 *
 * Sources that contradict each other are an error, but for two that are no contradiction: what stands around torchrun counts agents,
 * and a launcher that started one process (`srun --pty bash`) says nothing of processes that were started from it by hand.
 *
 * @throws LaunchError `launch/contradiction` naming both, `launch/incomplete`, `launch/value`
 */
export const launchOf = (flags: LaunchFlags = {}, env: Environment = process.env): Launch => {
  const all = statements(flags, env)
  const told = all.filter((statement) => !startedOne(statement) || all.every(({ worldSize }) => (worldSize?.value ?? 1) === 1))
  const rank = agreed(told.map((statement) => statement.rank))
  const worldSize = agreed(told.map((statement) => statement.worldSize))
  const runId = all.find((statement) => statement.runId !== undefined)?.runId
  if (runId !== undefined && (runId.length > LONGEST_RUN_ID || /[^\x20-\x7e]/.test(runId))) {
    refuse("value", `the run id ${quote(runId)} is not one of at most ${LONGEST_RUN_ID} printable ASCII characters`)
  }
  const [size, own] = complete(rank, worldSize, told.some(({ launcher }) => launcher === "Kubernetes"))
  const by = told.find((statement) => statement.rank !== undefined) ?? told.find((statement) => statement.worldSize !== undefined)
  const { localRank, localSize, master, nodeRank, takenPort } = Object.assign({}, ...[...told].reverse()) as Statement
  return {
    rank: own,
    worldSize: size,
    launcher: by?.launcher ?? "none",
    ...given({ localRank, localSize, nodeRank, master, takenPort, runId }),
    attempt: all.find((statement) => statement.attempt !== undefined)?.attempt ?? 0
  }
}

/** A launcher that started a single process. */
const startedOne = ({ launcher, worldSize }: Statement): boolean => worldSize?.value === 1 && launcher !== "flags" && launcher !== "variables"

const agreed = (all: ReadonlyArray<Said | undefined>): Said | undefined => {
  const [first, ...others] = all.filter((one) => one !== undefined)
  const other = others.find(({ value }) => value !== first?.value)
  if (first !== undefined && other !== undefined) {
    refuse("contradiction", `${first.by} and ${other.by} contradict each other`, "Leave one out, or unset the variable that is not meant.")
  }
  return first
}

const complete = (rank: Said | undefined, worldSize: Said | undefined, isKubernetes: boolean): readonly [size: number, rank: number] => {
  if (rank === undefined && (worldSize === undefined || worldSize.value === 1)) return [1, 0]
  if (worldSize === undefined) {
    return refuse("incomplete", `${rank!.by}, but how many processes there are is not said`,
      isKubernetes ? `An Indexed Job does not tell: give --world-size, or ${VARIABLES.worldSize}, the number of its completions.` : `Give --world-size or ${VARIABLES.worldSize}.`)
  }
  if (rank === undefined) return refuse("incomplete", `${worldSize.by}, but which of them this process is is not said`, `Give --rank or ${VARIABLES.rank}.`)
  if (!Number.isInteger(worldSize.value) || worldSize.value < 1 || worldSize.value > MAX_RANKS) refuse("value", `${worldSize.by} is no whole number from 1 to ${MAX_RANKS}`)
  if (!Number.isInteger(rank.value) || rank.value < 0 || rank.value >= worldSize.value) refuse("value", `${rank.by} is no rank of a world of ${worldSize.value}: they count from 0`)
  return [worldSize.value, rank.value]
}
