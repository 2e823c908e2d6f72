/** What starts a run: an environment without secrets, one list of arguments, and a launcher for each kind of machine. */
import { lines, quoted, word } from "./shell.ts"
import type { MimoSetup, Setup } from "./Setup.ts"

/** Ranks fill every node, or there is one node only. */
export const fillsNodes = ({ launch: { ranksByNode } }: Setup): boolean => ranksByNode.every((ranks) => ranks === ranksByNode[0])

const worldOf = ({ launch }: Setup): number => launch.ranksByNode.reduce((sum, n) => sum + n, 0)

/** Values that are there already win. */
const preset = (name: string, value: string): string => `export ${name}="\${${name}:-${value}}"`

export const envFile = (s: Setup): string => lines(
  "# shellcheck shell=bash",
  "# What the run's processes find in their environment; a value that is set already wins. Tokens (HF_TOKEN, WANDB_API_KEY) belong into",
  "# the environment of whoever starts the run, never into this file.",
  preset("NCCL_NVLS_ENABLE", "0"),
  preset("NCCL_GRAPH_REGISTER", "0"),
  preset("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
  preset("TORCH_NCCL_AVOID_RECORD_STREAMS", "1"),
  preset("TORCH_NCCL_HIGH_PRIORITY", "1"),
  s.score.layout.some((row) => row.tp > 1) && preset("CUDA_DEVICE_MAX_CONNECTIONS", "1"),
  preset("HTTPX_LOG_LEVEL", "WARNING"),
  preset("WANDB_MODE", "disabled"),
  ...(s.form === "mimo" ? ["", "# A checkout of the trainer, for its example script.", `export MEGATRON_BRIDGE="\${MEGATRON_BRIDGE:-/opt/Megatron-Bridge}"`] : [])
)

/** `name=tp=N,…` with every size that is not 1, dp always. */
const componentOf = ({ layout }: MimoSetup): ReadonlyArray<string> =>
  layout.components.map(({ name, parallelism: p }) => {
    const sizes = (["tp", "pp", "ep", "etp"] as const).filter((key) => key === "tp" || p[key] !== 1).map((key) => `${key}=${p[key]}`)
    return `${name}=${[...sizes, `dp=${p.dp}`, `rank_offset=${p.rankOffset}`].join(",")}`
  })

const datasetArguments = ({ dataset }: MimoSetup): ReadonlyArray<string> =>
  dataset.kind === "preset" ? ["--dataset-name", dataset.name]
    : ["--dataset-path", dataset.path, ...(dataset.subset === undefined ? [] : ["--dataset-subset", dataset.subset]), ...(dataset.adapter === undefined ? [] : ["--schema-adapter", dataset.adapter])]

/** Options of the trainer's example, without weights and folders. */
const mimoArguments = (s: MimoSetup): ReadonlyArray<string> => [
  "--hf-model", s.hfModel,
  ...componentOf(s).flatMap((component) => ["--component", component]),
  ...datasetArguments(s),
  "--seq-length", String(s.seqLength),
  "--global-batch-size", String(s.globalBatch),
  "--micro-batch-size", String(s.score.microBatch),
  "--train-iters", String(s.trainIters),
  "--lr", String(s.lr),
  "--min-lr", String(s.minLr),
  "--lr-warmup-iters", String(s.warmupIters),
  "--lr-decay-iters", String(s.trainIters),
  "--checkpoint-interval", String(s.saveInterval),
  "--seed", String(s.seed),
  "--run-name", s.name,
  ...s.frozen.flatMap((part) => (s.script.freeze[part] === undefined ? [] : [s.script.freeze[part], "true"]))
]

/** A word of an array, where a comma looks like a separator. */
const element = (text: string): string => (text.includes(",") && word(text) === text ? `'${text}'` : word(text))

/** Two to a line: an option and its value. */
const argumentLines = (all: ReadonlyArray<string>): ReadonlyArray<string> =>
  Array.from({ length: Math.ceil(all.length / 2) }, (_, i) => `  ${all.slice(2 * i, 2 * i + 2).map(element).join(" ")}`)

/** An option of finetune.py that the example does not have: a checkpoint with `.module.` names. */
export const DDP_OPTION = "--ddp-checkpoint"

/** `arguments.sh`: what every launcher hands to finetune.py, in the array `arguments`. */
export const argumentsFile = (s: Setup): string => lines(
  "# shellcheck shell=bash",
  "# Sets the array `arguments`. A run that has saved goes on from its newest save; a new one begins with the imported weights.",
  `save=\${SAVE:-${word(s.savePath)}}`,
  `pretrained=\${PRETRAINED:-${word(s.megatronPath)}}`,
  "arguments=(",
  ...argumentLines(s.form === "mimo" ? mimoArguments(s) : ["--hf-model", s.hfModel]),
  ...(s.form === "standard" ? [...s.overrides].map(([path, value]) => `  ${word(`${path}=${value}`)}`) : []),
  `  --checkpoint-dir "$save"`,
  s.form === "mimo" && `  --experiment-root "$save"`,
  ")",
  `if [ -s "$save/latest_checkpointed_iteration.txt" ]; then`,
  `  arguments+=(--load-checkpoint "$save")`,
  `elif [ -s "$pretrained/latest_checkpointed_iteration.txt" ]; then`,
  `  arguments+=(${s.form === "mimo" && s.loadRoute === "ddp" ? DDP_OPTION : "--pretrained-checkpoint"} "$pretrained")`,
  "else",
  `  echo "neither $save nor $pretrained is a Megatron checkpoint: import the model first (README.md)" >&2`,
  "  exit 2",
  "fi",
  ...(s.form === "mimo" ? [`if [ -n "\${WANDB_PROJECT:-}" ]; then`, `  arguments+=(--wandb-project "$WANDB_PROJECT" --wandb-exp-name ${word(s.name)})`, "fi"] : [])
)

const HEAD = ["#!/usr/bin/env bash", "set -euo pipefail"]
const HERE = `here=$(cd "$(dirname "\${BASH_SOURCE[0]}")" && pwd)`
const SOURCES = ["# shellcheck source=env.sh", `source "$here/env.sh"`, "# shellcheck source=arguments.sh", `source "$here/arguments.sh"`]

/** `sft.sh`: torchrun, equally many processes on every node. Undefined where ranks do not fill nodes. */
export const torchrunFile = (s: Setup): string | undefined => {
  if (!fillsNodes(s)) return undefined
  const { ranksByNode } = s.launch
  return lines(
    ...HEAD,
    `# ${worldOf(s)} ranks: ${ranksByNode.length === 1 ? "run it on the node" : `run it on each of ${ranksByNode.length} nodes, with NODE_RANK=0 … and MASTER_ADDR the first`}. Further words go to finetune.py.`,
    HERE,
    ...SOURCES,
    ranksByNode.length === 1 ? `exec torchrun --standalone --nproc-per-node ${ranksByNode[0]} "$here/finetune.py" "\${arguments[@]}" "$@"`
      : [
        "# A launcher that starts one task per node says both under names of its own.",
        `NODE_RANK="\${NODE_RANK:-\${SLURM_NODEID:-}}" MASTER_ADDR="\${MASTER_ADDR:-\${SLURM_LAUNCH_NODE_IPADDR:-}}"`,
        `: "\${NODE_RANK:?the number of this node, from 0}" "\${MASTER_ADDR:?the address of the first node}"`,
        `exec torchrun --nnodes ${ranksByNode.length} --node-rank "$NODE_RANK" --nproc-per-node ${ranksByNode[0]} \\`,
        `  --master-addr "$MASTER_ADDR" --master-port "\${MASTER_PORT:-29500}" "$here/finetune.py" "\${arguments[@]}" "$@"`
      ].join("\n")
  )
}

/**
 * `sft_nemo.py`: the same through NeMo-Run, one task per node that runs sft.sh, so that a job that is put back goes on from its newest
 * save. Undefined where ranks do not fill nodes: its executors start equally many tasks on every node.
 */
export const nemoRunFile = (s: Setup): string | undefined => {
  if (!fillsNodes(s)) return undefined
  const { account, container, mounts, partition, ranksByNode, time } = s.launch
  return lines(
    "#!/usr/bin/env python3",
    `"""Start ${s.name} through NeMo-Run: one task on each of ${ranksByNode.length} nodes, which runs sft.sh."""`,
    "",
    "import argparse",
    "import shlex",
    "from pathlib import Path",
    "",
    "import nemo_run as run",
    "",
    "HERE = Path(__file__).resolve().parent",
    `NODES = ${ranksByNode.length}`,
    `GPUS_PER_NODE = ${ranksByNode[0]}`,
    "",
    "",
    "def parse_args() -> argparse.Namespace:",
    "    parser = argparse.ArgumentParser(description=__doc__)",
    ...(ranksByNode.length === 1 ? [`    parser.add_argument("--local", action="store_true", help="on this machine, without Slurm")`] : []),
    `    parser.add_argument("--account"${account === undefined ? "" : `, default=${quoted(account)}`})`,
    `    parser.add_argument("--partition"${partition === undefined ? "" : `, default=${quoted(partition)}`})`,
    `    parser.add_argument("--time", default=${quoted(time)})`,
    `    parser.add_argument("--container-image"${container === undefined ? "" : `, default=${quoted(container)}`})`,
    `    parser.add_argument("--dry-run", action="store_true", help="show what would be submitted")`,
    "    return parser.parse_args()",
    "",
    "",
    "def executor_of(args: argparse.Namespace):",
    ...(ranksByNode.length === 1 ? ["    if args.local:", "        return run.LocalExecutor(ntasks_per_node=1)"] : []),
    "    if args.account is None:",
    `        raise SystemExit("--account: Slurm asks for one")`,
    "    return run.SlurmExecutor(",
    "        account=args.account,",
    "        partition=args.partition,",
    "        time=args.time,",
    "        nodes=NODES,",
    "        ntasks_per_node=1,",
    "        gpus_per_node=GPUS_PER_NODE,",
    "        exclusive=True,",
    "        container_image=args.container_image,",
    `        container_mounts=[${[...mounts].map(quoted).join(", ")}],`,
    `        additional_parameters={"requeue": True},`,
    `        tunnel=run.LocalTunnel(job_dir=""),`,
    "        packager=run.Packager(),",
    "    )",
    "",
    "",
    "def main() -> None:",
    "    args = parse_args()",
    `    script = str(HERE / "sft.sh")`,
    "    if shlex.quote(script) != script:",
    `        raise SystemExit(f"{script}: NeMo-Run hands paths to a shell as they are; move the folder to one without blanks")`,
    `    task = run.Script(path=script, entrypoint="bash")`,
    `    with run.Experiment(${quoted(s.name)}) as experiment:`,
    `        experiment.add(task, executor=executor_of(args), name="training")`,
    "        if args.dry_run:",
    "            experiment.dryrun()",
    "        else:",
    "            experiment.run(detach=True)",
    "",
    "",
    `if __name__ == "__main__":`,
    "    main()"
  )
}

/** `node.sh`: one process per rank of this node, for machines without a launcher, and for Kubernetes. Nodes may have different numbers. */
export const nodeFile = (s: Setup): string => lines(
  ...HEAD,
  `# Starts the ranks of node NODE_RANK: ${s.launch.ranksByNode.join(" + ")}. One that fails ends the others.`,
  HERE,
  ...SOURCES,
  `: "\${NODE_RANK:?the number of this node, from 0}" "\${MASTER_ADDR:?the address of the first node}"`,
  `ranks=(${s.launch.ranksByNode.join(" ")})`,
  `export MASTER_PORT="\${MASTER_PORT:-29500}" WORLD_SIZE=${worldOf(s)} LOCAL_WORLD_SIZE="\${ranks[$NODE_RANK]}"`,
  "first=0",
  "for ((node = 0; node < NODE_RANK; node++)); do first=$((first + ranks[node])); done",
  "pids=()",
  `trap 'kill "\${pids[@]}" 2>/dev/null || true' EXIT`,
  "for ((local = 0; local < LOCAL_WORLD_SIZE; local++)); do",
  `  RANK=$((first + local)) LOCAL_RANK=$local python "$here/finetune.py" "\${arguments[@]}" "$@" &`,
  `  pids+=("$!")`,
  "done",
  "for ((local = 0; local < LOCAL_WORLD_SIZE; local++)); do wait -n; done"
)

/** `sft.sbatch`: one group of tasks per node, as many as its ranks. */
export const sbatchFile = (s: Setup): string => {
  const { account, container, gpusPerNode, mounts, partition, ranksByNode, time } = s.launch
  const directive = (option: string, value: string | undefined): string | false => value !== undefined && `#SBATCH --${option}=${value}`
  return lines(
    "#!/usr/bin/env bash",
    directive("job-name", s.name),
    directive("nodes", String(ranksByNode.length)),
    directive("ntasks-per-node", "1"),
    directive("gpus-per-node", String(gpusPerNode)),
    directive("time", time),
    directive("partition", partition),
    directive("account", account),
    directive("output", `${s.name}-%j.out`),
    "#SBATCH --exclusive",
    "#SBATCH --requeue",
    "set -euo pipefail",
    `# ${worldOf(s)} ranks on ${ranksByNode.length} nodes: ${ranksByNode.join(" + ")}. A job that is put back into the queue goes on from its newest save.`,
    `here=\${SETUP_DIR:-\${SLURM_SUBMIT_DIR:-$PWD}}`,
    ...SOURCES,
    `mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")`,
    `ranks=(${ranksByNode.join(" ")})`,
    `if [ "\${#nodes[@]}" -lt "\${#ranks[@]}" ]; then`,
    `  echo "the job has \${#nodes[@]} nodes, the layout needs \${#ranks[@]}" >&2`,
    "  exit 2",
    "fi",
    `export MASTER_ADDR="\${nodes[0]}" MASTER_PORT=$((15000 + SLURM_JOB_ID % 40000)) WORLD_SIZE=${worldOf(s)}`,
    "# Each task: its rank is its number over all groups.",
    "# shellcheck disable=SC2016",
    `task='export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID; exec python "$0" "$@"'`,
    "command=(srun --label --kill-on-bad-exit=1 --distribution=block:block --export=ALL)",
    ...(container === undefined ? [] : [`command+=(--container-image ${word(container)}${mounts.length > 0 ? ` --container-mounts ${element(mounts.join(","))}` : ""})`]),
    `for node in "\${!ranks[@]}"; do`,
    `  if [ "$node" -gt 0 ]; then command+=(:); fi`,
    `  command+=(--nodes=1 --ntasks="\${ranks[$node]}" --ntasks-per-node="\${ranks[$node]}" --nodelist="\${nodes[$node]}"`,
    `    bash -c "$task" "$here/finetune.py" "\${arguments[@]}" "$@")`,
    "done",
    `"\${command[@]}"`
  )
}

/** A name that Kubernetes takes. */
const kubernetesName = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 50) || "sft"

/** `sft.k8s.yaml`: a headless service and an indexed job, one pod per node. JSON strings are YAML's. */
export const kubernetesFile = (s: Setup): string => {
  const name = kubernetesName(s.name)
  const { container = "nvcr.io/nvidia/nemo:latest", gpusPerNode, ranksByNode } = s.launch
  return lines(
    "# One pod per node. The folder that this file is in must be mounted at /setup, models and checkpoints where their paths say.",
    "apiVersion: v1",
    "kind: Service",
    "metadata:",
    `  name: ${name}`,
    "spec:",
    "  clusterIP: None",
    "  # The first node has its name before all of them run.",
    "  publishNotReadyAddresses: true",
    "  selector:",
    `    job-name: ${name}`,
    "---",
    "apiVersion: batch/v1",
    "kind: Job",
    "metadata:",
    `  name: ${name}`,
    "spec:",
    "  completionMode: Indexed",
    `  completions: ${ranksByNode.length}`,
    `  parallelism: ${ranksByNode.length}`,
    "  backoffLimit: 6",
    "  template:",
    "    spec:",
    `      subdomain: ${name}`,
    "      restartPolicy: OnFailure",
    "      containers:",
    "        - name: trainer",
    `          image: ${quoted(container)}`,
    `          command: ["bash", "-c", ${quoted(`export NODE_RANK=$JOB_COMPLETION_INDEX MASTER_ADDR=${name}-0.${name}; exec bash /setup/node.sh`)}]`,
    "          resources:",
    "            limits:",
    `              nvidia.com/gpu: ${gpusPerNode}`,
    "          volumeMounts:",
    "            - name: setup",
    "              mountPath: /setup",
    "            - name: memory",
    "              mountPath: /dev/shm",
    "      volumes:",
    "        - name: setup",
    "          persistentVolumeClaim:",
    `            claimName: ${name}`,
    "        - name: memory",
    "          emptyDir:",
    "            medium: Memory"
  )
}
