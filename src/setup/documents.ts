/** What people read, and what programs read of the layout: README.md, plan.md, layout.json. */
import { processGroups } from "../parallel/ProcessGroups.ts"
import { coordinatesOf } from "../parallel/RankGrid.ts"
import type { LayoutReport } from "../planner/LayoutReport.ts"
import { safeJson } from "../quote.ts"
import { fillsNodes } from "./launch.ts"
import type { SampleCheck } from "./samples.ts"
import { lines, word } from "./shell.ts"
import type { Setup } from "./Setup.ts"

const NAME = "convert_megatron_mimo"

/** Larger worlds are described by their groups' rules alone. */
const MOST_RANKS_LISTED = 4096

/** Every rank: its component, its place, and whether it speaks for its replica to the other components. */
export const layoutJson = ({ launch, layout, score }: Setup): string => {
  const components = layout.components.map(({ name, parallelism }) => ({ name, ...parallelism, processGroups: layout.worldSize <= MOST_RANKS_LISTED ? processGroups(parallelism) : undefined }))
  const nodeOf = (rank: number): number => {
    let first = 0
    return launch.ranksByNode.findIndex((ranks) => rank < (first += ranks))
  }
  const ranks = layout.worldSize > MOST_RANKS_LISTED ? [] : layout.components.flatMap(({ name, parallelism: p }) =>
    Array.from({ length: p.tp * p.cp * p.dp * p.pp }, (_, i) => {
      const rank = p.rankOffset + i
      const { cp, dp, pp, tp } = coordinatesOf(p, rank)
      const isSource = name !== "language" && pp === p.pp - 1 && tp === p.tp - 1 && cp === p.cp - 1
      const isDestination = name === "language" && pp === 0 && tp === 0 && cp === 0
      return { rank, node: nodeOf(rank), component: name, tp, cp, dp, pp, leader: isSource || isDestination }
    })).sort((a, b) => a.rank - b.rank)
  return `${safeJson({ worldSize: layout.worldSize, flags: score.flags, ranksByNode: launch.ranksByNode, components, ranks }, 2)}\n`
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1)

/** What the run is expected to take, and what else there was. */
export const planMd = (s: Setup, report: LayoutReport): string => lines(
  `# Plan of ${s.name}`,
  "",
  `${s.architecture} on ${report.nodes} nodes of ${report.gpusPerNode} ${report.gpu}: sequences of ${s.seqLength} tokens, global batch ${s.globalBatch}, micro batch ${s.score.microBatch}, ${s.trainIters} iterations.`,
  "",
  "Times are estimates from first principles; no GPU was asked. Memory is counted from the model's tensors.",
  "",
  "| | |",
  "| --- | --- |",
  `| layout | ${s.score.spelled} |`,
  `| ranks by node | ${s.score.ranksByNode.join(" + ")} |`,
  `| GPUs at work | ${s.score.ranks} of ${s.score.allocated}${s.score.idle > 0 ? `; idle: ${s.score.idleBecause}` : ""} |`,
  `| step | ${s.score.stepSeconds.toFixed(2)} s, bubble ${percent(s.score.bubble)} |`,
  `| tokens per second | ${Math.round(s.score.tokensPerSecond)} |`,
  `| allocated GPU time per token | ${(1e6 * s.score.gpuSecondsPerToken).toFixed(1)} µs |`,
  `| recompute, sequence parallelism | ${s.score.recompute}, ${s.score.sequenceParallel ? "on" : "off"} |`,
  "",
  "## Memory of a rank, GiB",
  "",
  "| stage | ranks | weights | gradients | optimizer | activations | logits | all |",
  "| --- | --- | --- | --- | --- | --- | --- | --- |",
  ...s.score.memory.map((m) => `| ${m.component} ${m.stage} | ${m.ranks} | ${[m.weights, m.gradients, m.optimizer, m.activations, m.logits, m.total].map(gib).join(" | ")} |`),
  "",
  "## Time of a microbatch, ms",
  "",
  "| stage | compute | tensor parallel | expert parallel | transfer |",
  "| --- | --- | --- | --- | --- |",
  ...s.score.stages.map((t) => `| ${t.component} ${t.stage} | ${[t.compute, t.tensorParallel, t.expertParallel, t.transfer].map((x) => (1000 * x).toFixed(1)).join(" | ")} |`),
  "",
  "## Other layouts",
  "",
  "| layout | step s | GPU-µs per token |",
  "| --- | --- | --- |",
  ...[...report.best, ...(report.standard ? [report.standard] : [])].map((o) => `| ${o.spelled} | ${o.stepSeconds.toFixed(2)} | ${(1e6 * o.gpuSecondsPerToken).toFixed(1)} |`),
  "",
  ...report.notes.map((note) => `- ${note}`),
  "",
  "## Refused",
  "",
  ...report.refused.map((r) => `- rule ${r.rule}, ${r.layouts} layouts: ${r.problem} (${r.trainer})`)
)

/** What only GPUs can prove. */
export const unproven = (s: Setup): ReadonlyArray<string> => [
  "the time of a step and the memory that is really used",
  "NCCL groups and transfers between nodes",
  ...(s.form === "mimo" ? ["transfers between components", ...(s.loadRoute === "ddp" ? ["loading a checkpoint with `.module.` names as checkpoint.pretrained_checkpoint"] : []), "the example script with the provider's fields that finetune.py sets (sequence parallelism, recomputation, frozen routers)"] : ["the trainer's common configuration with these overrides"]),
  "saving, resuming and requeueing"
]

/** The commands of a run, in order, for a shell in the folder. */
export const commandsOf = (s: Setup): ReadonlyArray<readonly [what: string, command: string]> => {
  const components = s.form === "mimo" ? ` ${s.score.flags.map(word).join(" ")}${s.loadRoute === "ddp" ? " --load-route ddp" : ""}` : " --standard"
  const start = fillsNodes(s) ? "bash sft.sh" : "sbatch sft.sbatch"
  return [
    [s.form === "mimo" && s.loadRoute === "ddp" ? "import-ddp" : "import", `${NAME} import --hf-model ${word(s.hfModel)} --megatron-path ${word(s.megatronPath)}${components}`],
    ["check", `${NAME} verify ${word(s.hfModel)} ${word(s.megatronPath)}`],
    ["train", start],
    ["resume", start],
    ["export", `${NAME} export --hf-model ${word(s.hfModel)} --megatron-path ${word(s.savePath)} --hf-path ${word(`${s.savePath}-hf`)}`],
    ["compare", `${NAME} diff ${word(s.hfModel)} ${word(`${s.savePath}-hf`)}`],
    ["serve", `vllm serve ${word(`${s.savePath}-hf`)}`]
  ]
}

const WHAT: Readonly<Record<string, string>> = {
  import: "Import the model: an exact copy of its weights in the form that the trainer loads. It takes no GPU.",
  "import-ddp": "Import the model: an exact copy of its weights under the names that the trainer looks for after wrapping, with `.module.`. It takes no GPU. A checkpoint that is imported already gets them by `relabel --to ddp --link`.",
  check: "Verify it, byte for byte.",
  train: "Train.",
  resume: "Resume: the same command. It goes on from the newest save, with its optimizer; only a run that has not saved begins with the imported weights.",
  export: "Export the newest save.",
  compare: "See what training changed.",
  serve: "Serve it."
}

/** README.md: what is here, the next commands, what is not proven. */
export const readmeMd = (s: Setup, files: ReadonlyArray<readonly [name: string, what: string]>, samples: SampleCheck | undefined): string => lines(
  `# ${s.name}`,
  "",
  `${s.form === "mimo" ? "MegatronMIMO: every component on ranks of its own" : s.mode === "lora" ? "LoRA, one model under one layout" : "One model under one layout"}: ${s.score.spelled}; ${s.score.ranks} ranks, ${s.launch.ranksByNode.join(" + ")} by node.`,
  "",
  ...commandsOf(s).flatMap(([what, command], i) => [`${i + 1}. ${WHAT[what]}`, "", "   ```sh", `   ${command}`, "   ```", ""]),
  "On other machines:",
  "",
  ...(fillsNodes(s) ? ["- Slurm: `sbatch sft.sbatch`", "- NeMo-Run, on Slurm: `python sft_nemo.py --account NAME`"] : ["- torchrun starts equally many processes on every node, so there is no `sft.sh` for this layout, and none of NeMo-Run"]),
  "- without a launcher: `NODE_RANK=0 MASTER_ADDR=first-node bash node.sh` on each node, with its number",
  "- Kubernetes: a volume claim of the run's name with this folder, then `kubectl apply -f sft.k8s.yaml`",
  "",
  "`SAVE` and `PRETRAINED` in the environment override the two folders. Words behind `sft.sh` go to `finetune.py`.",
  "",
  "## Files",
  "",
  "| | |",
  "| --- | --- |",
  ...files.map(([name, what]) => `| \`${name}\` | ${what} |`),
  "",
  "## Unproven",
  "",
  "Nothing here has seen a GPU. Checked without one: syntax, arguments, layout rules, memory by counting. Not proven:",
  "",
  ...unproven(s).map((what) => `- ${what}`),
  "",
  ...(samples === undefined ? [] : [
    "## Samples",
    "",
    `${samples.samples} samples, ${samples.images} images (${samples.leastImages} to ${samples.mostImages} each), at most ${samples.mostVisualTokens} visual tokens.`,
    "",
    ...samples.findings.map((f) => `- ${f.severity}: line ${f.lines.join(", ")} ${f.text}`)
  ]),
  ...(s.notes.length === 0 ? [] : ["", "## Notes", "", ...s.notes.map((note) => `- ${note}`)])
)
