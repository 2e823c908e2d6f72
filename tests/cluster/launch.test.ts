/** Every launcher's variables, as it sets them, and what becomes of several at once. */
import { describe, expect, it } from "vitest"
import { type Launch, type LaunchFlags, launchOf } from "../../src/cluster/launch.ts"
import type { Environment } from "../../src/websocket/Environment.ts"
import { firstHost, tasksOfNode } from "../../src/cluster/nodeList.ts"
import { LaunchError } from "../../src/errors.ts"

const torchrun: Environment = {
  RANK: "3", WORLD_SIZE: "4", LOCAL_RANK: "1", LOCAL_WORLD_SIZE: "2", GROUP_RANK: "1", GROUP_WORLD_SIZE: "2", ROLE_RANK: "3",
  MASTER_ADDR: "n1", MASTER_PORT: "29400", TORCHELASTIC_RUN_ID: "job7", TORCHELASTIC_RESTART_COUNT: "2", TORCHELASTIC_USE_AGENT_STORE: "True"
}
const slurm: Environment = {
  SLURM_JOB_ID: "77", SLURM_STEP_ID: "0", SLURM_PROCID: "6", SLURM_NTASKS: "7", SLURM_STEP_NUM_TASKS: "7", SLURM_LOCALID: "0", SLURM_NODEID: "3",
  SLURM_STEP_TASKS_PER_NODE: "2(x3),1", SLURM_STEP_NODELIST: "n[01-03,7]", SLURM_RESTART_COUNT: "1"
}
const openMpi: Environment = {
  OMPI_COMM_WORLD_RANK: "2", OMPI_COMM_WORLD_SIZE: "3", OMPI_COMM_WORLD_LOCAL_RANK: "2", OMPI_COMM_WORLD_LOCAL_SIZE: "3", OMPI_COMM_WORLD_NODE_RANK: "2",
  PMIX_NAMESPACE: "1234.1"
}
const hydra: Environment = { PMI_RANK: "1", PMI_SIZE: "2", MPI_LOCALRANKID: "1", MPI_LOCALNRANKS: "2" }
const indexedJob: Environment = { KUBERNETES_SERVICE_HOST: "10.0.0.1", JOB_COMPLETION_INDEX: "5", HOSTNAME: "convert-5" }

const identities: ReadonlyArray<readonly [name: string, flags: LaunchFlags, env: Environment, launch: Launch]> = [
  ["nothing at all", {}, {}, { rank: 0, worldSize: 1, launcher: "none", attempt: 0 }],
  ["flags", { rank: 1, worldSize: 2 }, {}, { rank: 1, worldSize: 2, launcher: "flags", attempt: 0 }],
  ["our own variables", {}, { MEGATRON_MIMO_RANK: "1", MEGATRON_MIMO_WORLD_SIZE: "2", MEGATRON_MIMO_RUN_ID: "r", MEGATRON_MIMO_ATTEMPT: "3" },
    { rank: 1, worldSize: 2, launcher: "variables", runId: "r", attempt: 3 }],
  ["torchrun", {}, torchrun, { rank: 3, worldSize: 4, launcher: "torchrun", localRank: 1, localSize: 2, nodeRank: 1, master: "n1", takenPort: 29400, runId: "job7", attempt: 2 }],
  ["RANK and WORLD_SIZE without an agent, whose port is free", {}, { RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "m", MASTER_PORT: "1" },
    { rank: 0, worldSize: 2, launcher: "RANK and WORLD_SIZE", master: "m", attempt: 0 }],
  ["a Slurm step", {}, slurm, { rank: 6, worldSize: 7, launcher: "Slurm", localRank: 0, localSize: 1, nodeRank: 3, master: "n01", runId: "77.0", attempt: 1 }],
  ["a Slurm step that does not tell its own size", {}, { ...slurm, SLURM_STEP_NUM_TASKS: undefined },
    { rank: 6, worldSize: 7, launcher: "Slurm", localRank: 0, localSize: 1, nodeRank: 3, master: "n01", runId: "77.0", attempt: 1 }],
  ["Open MPI, whose NODE_RANK is no node's", {}, openMpi, { rank: 2, worldSize: 3, launcher: "Open MPI", localRank: 2, localSize: 3, runId: "1234.1", attempt: 0 }],
  ["hydra", {}, hydra, { rank: 1, worldSize: 2, launcher: "PMI", localRank: 1, localSize: 2, attempt: 0 }],
  ["an Indexed Job and its completions", { worldSize: 8 }, indexedJob, { rank: 5, worldSize: 8, launcher: "Kubernetes", localRank: 0, localSize: 1, nodeRank: 5, runId: "convert", attempt: 0 }],
  ["srun torchrun: Slurm counts agents", {}, { ...slurm, ...torchrun }, { rank: 3, worldSize: 4, launcher: "torchrun", localRank: 1, localSize: 2, nodeRank: 1, master: "n1", takenPort: 29400, runId: "job7", attempt: 2 }],
  ["mpirun under Slurm: Slurm counts daemons", {}, { ...slurm, SLURM_RESTART_COUNT: undefined, ...openMpi }, { rank: 2, worldSize: 3, launcher: "Open MPI", localRank: 2, localSize: 3, runId: "1234.1", attempt: 0 }],
  ["an Indexed Job of torchrun", {}, { ...indexedJob, ...torchrun }, { rank: 3, worldSize: 4, launcher: "torchrun", localRank: 1, localSize: 2, nodeRank: 1, master: "n1", takenPort: 29400, runId: "job7", attempt: 2 }],
  ["a Slurm batch script", {}, { ...slurm, SLURM_STEP_ID: "4294967291", SLURM_PROCID: "0" }, { rank: 0, worldSize: 1, launcher: "none", attempt: 0 }],
  ["a Slurm allocation without a step", {}, { ...slurm, SLURM_STEP_ID: undefined }, { rank: 0, worldSize: 1, launcher: "none", attempt: 0 }],
  ["a login shell in a Slurm job", {}, { SLURM_JOB_ID: "7", SLURM_NTASKS: "4" }, { rank: 0, worldSize: 1, launcher: "none", attempt: 0 }],
  ["flags that say what the launcher says", { rank: 3, worldSize: 4 }, torchrun, { rank: 3, worldSize: 4, launcher: "flags", localRank: 1, localSize: 2, nodeRank: 1, master: "n1", takenPort: 29400, runId: "job7", attempt: 2 }],
  ["processes started by hand from one interactive task", { rank: 1, worldSize: 4 }, { ...slurm, SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1", SLURM_STEP_TASKS_PER_NODE: "1", SLURM_NODEID: "0" },
    { rank: 1, worldSize: 4, launcher: "flags", runId: "77.0", attempt: 1 }],
  ["a world of one by its size alone", {}, { WORLD_SIZE: "1" }, { rank: 0, worldSize: 1, launcher: "RANK and WORLD_SIZE", attempt: 0 }]
]

const refusals: ReadonlyArray<readonly [code: string, message: string, flags: LaunchFlags, env: Environment]> = [
  ["launch/contradiction", "--world-size 8 and WORLD_SIZE=4 contradict each other", { worldSize: 8 }, torchrun],
  ["launch/contradiction", "--rank 0 and MEGATRON_MIMO_RANK=1 contradict each other", { rank: 0, worldSize: 2 }, { MEGATRON_MIMO_RANK: "1", MEGATRON_MIMO_WORLD_SIZE: "2" }],
  ["launch/contradiction", "MEGATRON_MIMO_WORLD_SIZE=2 and SLURM_STEP_NUM_TASKS=7 contradict each other", {}, { ...slurm, MEGATRON_MIMO_WORLD_SIZE: "2" }],
  ["launch/contradiction", "WORLD_SIZE=2 and OMPI_COMM_WORLD_SIZE=3 contradict each other", {}, { RANK: "2", WORLD_SIZE: "2", ...openMpi }],
  ["launch/incomplete", "JOB_COMPLETION_INDEX=5, but how many processes there are is not said", {}, indexedJob],
  ["launch/incomplete", "--rank 1, but how many", { rank: 1 }, {}],
  ["launch/incomplete", "WORLD_SIZE=4, but which of them this process is is not said", {}, { WORLD_SIZE: "4" }],
  ["launch/value", "RANK is minus one", {}, { RANK: "minus one", WORLD_SIZE: "2" }],
  ["launch/value", "RANK=2 is no rank of a world of 2", {}, { RANK: "2", WORLD_SIZE: "2" }],
  ["launch/value", "--world-size 0 is no whole number from 1", { rank: 0, worldSize: 0 }, {}],
  ["launch/value", "--world-size 2097152", { rank: 0, worldSize: 2_097_152 }, {}],
  ["launch/value", "the run id a\\u0007b", { rank: 0, worldSize: 2 }, { MEGATRON_MIMO_RUN_ID: "a\u0007b" }],
  ["launch/value", "SLURM_STEP_NODELIST is no list of hosts: ../x", {}, { ...slurm, SLURM_STEP_NODELIST: "../x" }]
]

describe("a process is told who it is by", () => {
  it.each(identities)("%s", (_, flags, env, launch) => {
    expect(launchOf(flags, env)).toEqual(launch)
  })
})

describe("refused:", () => {
  it.each(refusals)("%s: %s", (code, message, flags, env) => {
    try {
      launchOf(flags, env)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(LaunchError)
      expect((error as LaunchError).code).toBe(code)
      expect((error as LaunchError).message).toContain(message)
    }
  })
})

describe("Slurm's lists", () => {
  it.each([["n[01-03,7]", "n01"], ["a,b[1-2]", "a"], ["x[3,5],y", "x3"], ["rack[1-2]n[05-09]", "rack1n05"], ["10.0.0.1", "10.0.0.1"]])("%s begins with %s", (list, host) => {
    expect(firstHost(list)).toBe(host)
  })

  it.each([[0, 2], [2, 2], [3, 1], [4, undefined]])("2(x3),1: node %i has %s tasks", (node, tasks) => {
    expect(tasksOfNode("2(x3),1", node)).toBe(tasks)
  })
})
