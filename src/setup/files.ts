/** The folder of a run, as names and texts. Pure. */
import type { LayoutReport } from "../planner/LayoutReport.ts"
import { layoutJson, planMd, readmeMd } from "./documents.ts"
import { argumentsFile, envFile, kubernetesFile, nemoRunFile, nodeFile, sbatchFile, torchrunFile } from "./launch.ts"
import type { SampleCheck } from "./samples.ts"
import { finetuneScript, overridesYaml } from "./script.ts"
import type { Setup } from "./Setup.ts"

export interface SetupFile {
  readonly name: string
  readonly text: string
  readonly executable: boolean
}

/** All files, README.md last: it lists the others. */
export const setupFiles = (setup: Setup, report: LayoutReport, samples: SampleCheck | undefined): ReadonlyArray<SetupFile> => {
  const torchrun = torchrunFile(setup)
  const all: ReadonlyArray<readonly [name: string, what: string, text: string | undefined, executable?: true]> = [
    ["layout.json", "components, ranks, process groups", layoutJson(setup)],
    ["plan.md", "expected memory and time, other layouts, refused ones", planMd(setup, report)],
    ["finetune.py", setup.form === "mimo" ? "the trainer's example script with what it lacks" : "the trainer's common configuration with this layout", finetuneScript(setup), true],
    ["overrides.yaml", "sections of the configuration", setup.form === "standard" ? overridesYaml(setup) : undefined],
    ["env.sh", "environment, without secrets", envFile(setup)],
    ["arguments.sh", "what every launcher hands to finetune.py; where a run goes on", argumentsFile(setup)],
    ["sft.sh", "start with torchrun", torchrun, true],
    ["sft_nemo.py", "start through NeMo-Run, on Slurm", nemoRunFile(setup), true],
    ["sft.sbatch", "start with Slurm: as many tasks on each node as it has ranks", sbatchFile(setup), true],
    ["node.sh", "start the ranks of one node, without a launcher", nodeFile(setup), true],
    ["sft.k8s.yaml", "a Kubernetes job, one pod per node", kubernetesFile(setup)]
  ]
  const made = all.flatMap(([name, what, text, executable]) => (text === undefined ? [] : [{ name, what, text, executable: executable === true }]))
  const readme = readmeMd(setup, made.map(({ name, what }) => [name, what]), samples)
  return [...made.map(({ executable, name, text }) => ({ name, text, executable })), { name: "README.md", text: readme, executable: false }]
}
