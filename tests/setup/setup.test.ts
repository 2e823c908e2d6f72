/** The folder of a run: files that parse, launchers that start what the layout says, arguments that the trainer takes. */
import { execFileSync, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { parseAllDocuments, parseDocument } from "yaml"
import { z } from "zod"
import { brokenLayoutRule } from "../../src/parallel/LayoutRules.ts"
import type { Layout } from "../../src/parallel/ModuleParallelism.ts"
import { cliIn } from "../cli/run.ts"
import { PUBLISHED } from "../cost/published.ts"

const work = mkdtempSync(join(tmpdir(), "setup-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))

const bridge = process.env["MEGATRON_BRIDGE"]
/** Classes that the trainer's configuration extends: a part of a full checkout. */
const megatronLm = process.env["MEGATRON_LM"] ?? join(bridge ?? "", "3rdparty", "Megatron-LM")
const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0
const at = (...parts: ReadonlyArray<string>): string => join(work, ...parts)
const text = (...parts: ReadonlyArray<string>): string => readFileSync(at(...parts), "utf8")

const model = (name: keyof typeof PUBLISHED, folder: string): void => {
  mkdirSync(at(folder))
  writeFileSync(at(folder, "config.json"), JSON.stringify(PUBLISHED[name]))
}

/** Folders by the command line that writes them. */
const RUNS: Readonly<Record<string, string>> = {
  packed: "--hf-model hf-dense --nodes 3 -c language=tp=4,pp=2,dp=2 -c images=tp=1,dp=1 --images 1*768x768 --freeze images --micro-batch 2",
  single: "--hf-model hf-dense --gpu b200 -c language=tp=4,dp=1 -c images=tp=1,dp=1 --dataset-path /data/mine --schema-adapter mine --container repo/image:1 --mount /data:/data",
  experts: "--hf-model hf-experts --nodes 4 -c language=tp=4,pp=2,dp=2,ep=8 -c images=tp=1,dp=2 --sequence-parallel --recompute full --freeze router --global-batch 64",
  filled: "--hf-model hf-dense --nodes 3 --launcher torchrun -c language=tp=4,pp=2,dp=2 -c images=tp=4,dp=2 --images 1*768x768 --partition big --account me --time 01:00:00",
  adapters: "--hf-model hf-dense --mode lora --gpus-per-node 8 --lora-dim 16 --set optimizer.clip_grad=0.5",
  own: "--hf-model hf-words --dataset-path /data/mine --dataset-subset small --schema-adapter mine",
  pictures: "--hf-model hf-dense --standard --gpus-per-node 8 --nodes 2 --dataset-path /data/mine",
  renamed: "--hf-model hf-dense --nodes 3 -c language=tp=4,pp=2,dp=2 -c images=tp=1,dp=1 --images 1*768x768 --micro-batch 2 --load-route ddp",
  words: "--hf-model hf-words --nodes 2 --train-iters 1000 --save-interval 100"
}

beforeAll(async () => {
  model("Qwen3.5-27B", "hf-dense")
  model("Qwen3.5-35B-A3B", "hf-experts")
  model("Llama-3-8B", "hf-words")
  for (const [name, flags] of Object.entries(RUNS)) {
    const { code, err } = await run("setup", "sft", name, ...flags.split(" "))
    expect([name, code, err]).toEqual([name, 0, ""])
  }
  // What an import leaves where the runs look for it.
  for (const name of Object.keys(RUNS)) {
    mkdirSync(at(name, "checkpoint"))
    writeFileSync(at(name, "checkpoint", "latest_checkpointed_iteration.txt"), "0")
  }
  mkdirSync(at("bin"))
  const fake = (name: string, body: string): void => {
    writeFileSync(at("bin", name), `#!/usr/bin/env bash\n${body}\n`)
    chmodSync(at("bin", name), 0o755)
  }
  const print = `for word in "$@"; do printf '%s\\n' "$word"; done`
  fake("torchrun", print)
  fake("srun", `${print}\nprintf 'WORLD_SIZE=%s\\nMASTER_ADDR=%s\\nMASTER_PORT=%s\\n' "$WORLD_SIZE" "$MASTER_ADDR" "$MASTER_PORT"`)
  fake("scontrol", `[ "$1 $2" = "show hostnames" ] && printf '%s\\n' $(echo "$3" | tr ',' ' ')`)
  fake("python", `echo "$RANK $LOCAL_RANK $LOCAL_WORLD_SIZE $WORLD_SIZE $MASTER_ADDR:$MASTER_PORT"`)
})

const bash = (folder: string, file: string, env: Readonly<Record<string, string>> = {}, ...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync("bash", [at(folder, file), ...args], { encoding: "utf8", env: { PATH: `${at("bin")}:${process.env["PATH"]}`, ...env } })
  return { status, stderr, words: stdout.trimEnd().split("\n") }
}

/** The value behind an option. */
const valueOf = (words: ReadonlyArray<string>, option: string): string | undefined => (words.includes(option) ? words[words.indexOf(option) + 1] : undefined)

const SHELL = ["env.sh", "arguments.sh", "sft.sh", "sft.sbatch", "node.sh"]
const shellFiles = (names: ReadonlyArray<string> = Object.keys(RUNS)): ReadonlyArray<string> => names.flatMap((name) => SHELL.map((file) => at(name, file))).filter((file) => existsSync(file))

describe("files", () => {
  it("of shells parse", () => {
    for (const file of shellFiles()) expect([file, spawnSync("bash", ["-n", file]).status]).toEqual([file, 0])
  })

  it.skipIf(!has("shellcheck"))("of shells please shellcheck", () => {
    // arguments.sh and env.sh are read with the scripts that source them.
    const { status, stdout } = spawnSync("shellcheck", ["--external-sources", "--source-path=SCRIPTDIR", "--exclude=SC2034", ...shellFiles()], { encoding: "utf8" })
    expect([status, stdout]).toEqual([0, ""])
  })

  it.skipIf(!has("python3"))("of Python compile", () => {
    const files = Object.keys(RUNS).flatMap((name) => [at(name, "finetune.py"), at(name, "sft_nemo.py")]).filter((file) => existsSync(file))
    expect(files.length).toBeGreaterThan(Object.keys(RUNS).length)
    const check = "import ast, sys\nfor path in sys.argv[1:]:\n    compile(ast.parse(open(path).read()), path, 'exec')"
    expect(spawnSync("python3", ["-c", check, ...files], { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" })
  })

  it("hold no secret, and nothing of the environment they were written in", () => {
    for (const name of Object.keys(RUNS)) {
      for (const file of [...SHELL, "finetune.py", "sft_nemo.py", "sft.k8s.yaml", "README.md"]) {
        if (!existsSync(at(name, file))) continue
        expect(text(name, file)).not.toMatch(/hf_[A-Za-z0-9]{20}|(?:TOKEN|API_KEY|PASSWORD|SECRET)\s*[=:]\s*["']?[^\s"'$]/)
      }
    }
  })

  it("list what is unproven, and the next commands", () => {
    const readme = text("packed", "README.md")
    expect(readme).toContain("Nothing here has seen a GPU")
    expect(readme).toContain("transfers between components")
    expect(readme).toContain("convert_megatron_mimo import --hf-model")
    expect(readme).toContain("sbatch sft.sbatch")
    expect(text("single", "README.md")).toContain("bash sft.sh")
  })

  it("there is no torchrun launcher where ranks do not fill nodes", () => {
    for (const file of ["sft.sh", "sft_nemo.py"]) expect(["packed", "filled", "single"].map((name) => existsSync(at(name, file)))).toEqual([false, true, true])
  })

  it("a folder that exists is not written over, unless asked", async () => {
    const again = ["setup", "sft", "words", ...RUNS["words"]!.split(" ")]
    expect((await run(...again)).code).toBe(5)
    expect((await run(...again, "--overwrite", "-q")).code).toBe(0)
    expect(existsSync(at("words", "checkpoint", "latest_checkpointed_iteration.txt"))).toBe(true)
  })

  it("layout.json says what every rank is", () => {
    const layout = JSON.parse(text("packed", "layout.json")) as { readonly worldSize: number; readonly ranks: ReadonlyArray<Readonly<Record<string, unknown>>>; readonly components: ReadonlyArray<{ readonly processGroups: { readonly tp: unknown; readonly pp: unknown; readonly dp: unknown } }> }
    expect(layout.worldSize).toBe(17)
    expect(layout.ranks[9]).toEqual({ rank: 9, node: 1, component: "language", tp: 1, cp: 0, dp: 0, pp: 1, leader: false })
    expect(layout.ranks.filter((r) => r["leader"]).map((r) => r["rank"])).toEqual([0, 4, 16])
    expect(layout.components[0]!.processGroups.tp).toEqual([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]])
    expect(layout.components[0]!.processGroups.dp).toEqual([[0, 4], [1, 5], [2, 6], [3, 7], [8, 12], [9, 13], [10, 14], [11, 15]])
  })
})

const NODES = { SLURM_JOB_NODELIST: "a1,a2,a3,a4", SLURM_JOB_ID: "123456" }

describe("Slurm", () => {
  const started = (name: string, env: Readonly<Record<string, string>> = NODES) => bash(name, "sft.sbatch", { SETUP_DIR: at(name), ...env })

  it("17 ranks on nodes of eight are 8 + 8 + 1 tasks, in order", () => {
    const { status, words } = started("packed")
    expect(status).toBe(0)
    expect(words.filter((w) => w.startsWith("--ntasks="))).toEqual(["--ntasks=8", "--ntasks=8", "--ntasks=1"])
    expect(words.filter((w) => w.startsWith("--nodelist="))).toEqual(["--nodelist=a1", "--nodelist=a2", "--nodelist=a3"])
    expect(words.filter((w) => w === ":").length).toBe(2)
    expect(words.slice(-3)).toEqual(["WORLD_SIZE=17", "MASTER_ADDR=a1", `MASTER_PORT=${15000 + (123456 % 40000)}`])
    expect(words).toContain("--distribution=block:block")
  })

  it("too few nodes are refused before anything starts", () => {
    const { status, stderr } = started("packed", { ...NODES, SLURM_JOB_NODELIST: "a1,a2" })
    expect([status, stderr.trim()]).toEqual([2, "the job has 2 nodes, the layout needs 3"])
  })

  it("the header asks for what the layout needs", () => {
    expect(text("packed", "sft.sbatch")).toContain("#SBATCH --nodes=3\n")
    expect(text("filled", "sft.sbatch")).toMatch(/--time=01:00:00\n#SBATCH --partition=big\n#SBATCH --account=me\n/)
    expect(text("packed", "sft.sbatch")).toContain("#SBATCH --requeue")
  })

  it("a container and its mounts", () => expect(started("single").words).toEqual(expect.arrayContaining(["--container-image", "repo/image:1", "--container-mounts", "/data:/data"])))
})

describe("torchrun", () => {
  it("on one node", () => {
    const { words } = bash("single", "sft.sh", {}, "--log-interval", "5")
    expect(words.slice(0, 4)).toEqual(["--standalone", "--nproc-per-node", "5", at("single", "finetune.py")])
    expect(words.slice(-2)).toEqual(["--log-interval", "5"])
  })

  it("on several, told which this is", () => {
    expect(bash("filled", "sft.sh").status).not.toBe(0)
    const { words } = bash("filled", "sft.sh", { NODE_RANK: "2", MASTER_ADDR: "a1" })
    const nodeTwo = ["--nnodes", "3", "--node-rank", "2", "--nproc-per-node", "8", "--master-addr", "a1", "--master-port", "29500"]
    expect(words.slice(0, 10)).toEqual(nodeTwo)
    expect(bash("filled", "sft.sh", { SLURM_NODEID: "2", SLURM_LAUNCH_NODE_IPADDR: "a1" }).words.slice(0, 10)).toEqual(nodeTwo)
  })
})

describe("a node without a launcher", () => {
  it("starts its own ranks", () => {
    const ranks = (node: string) => bash("packed", "node.sh", { NODE_RANK: node, MASTER_ADDR: "a1" }).words.sort((a, b) => Number.parseInt(a) - Number.parseInt(b))
    expect(ranks("1")).toEqual(Array.from({ length: 8 }, (_, i) => `${8 + i} ${i} 8 17 a1:29500`))
    expect(ranks("2")).toEqual(["16 0 1 17 a1:29500"])
  })

  it("ends all when one fails", () => {
    writeFileSync(at("bin", "failing"), "")
    mkdirSync(at("broken"), { recursive: true })
    writeFileSync(at("broken", "python"), `#!/usr/bin/env bash\n[ "$LOCAL_RANK" = 1 ] && exit 3\nexec sleep 600\n`)
    chmodSync(at("broken", "python"), 0o755)
    const { status } = spawnSync("bash", [at("packed", "node.sh")], { env: { PATH: `${at("broken")}:${process.env["PATH"]}`, NODE_RANK: "0", MASTER_ADDR: "a1" } })
    expect(status).toBe(3)
  })
})

describe("weights", () => {
  it("imported ones at first, the newest save afterwards, none: refused", () => {
    const first = bash("single", "sft.sh").words
    expect([valueOf(first, "--pretrained-checkpoint"), first.includes("--load-checkpoint")]).toEqual([at("single", "checkpoint"), false])
    mkdirSync(at("saved"))
    writeFileSync(at("saved", "latest_checkpointed_iteration.txt"), "50")
    const later = bash("single", "sft.sh", { SAVE: at("saved") }).words
    expect([valueOf(later, "--load-checkpoint"), later.includes("--pretrained-checkpoint"), valueOf(later, "--checkpoint-dir")]).toEqual([at("saved"), false, at("saved")])
    expect(bash("single", "sft.sh", { PRETRAINED: at("nowhere") }).status).toBe(2)
  })

  it("are saved at intervals, under a schedule that ends with the run", () => {
    const { words } = bash("single", "sft.sh")
    expect(["--checkpoint-interval", "--train-iters", "--lr-decay-iters", "--lr-warmup-iters"].map((o) => valueOf(words, o))).toEqual(["50", "500", "500", "15"])
  })
})

describe("Kubernetes", () => {
  // The fields of `batch/v1` Job and `v1` Service that are used, by the names and types of the published schema (as @kubernetes/client-node
  // 2.0.1, which is made from it, has them). The schema itself is not here: a field that is added needs a look into it.
  const meta = z.strictObject({ name: z.string().regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/) })
  const volume = z.union([z.strictObject({ name: z.string(), persistentVolumeClaim: z.strictObject({ claimName: z.string() }) }), z.strictObject({ name: z.string(), emptyDir: z.strictObject({ medium: z.literal("Memory") }) })])
  const job = z.strictObject({
    apiVersion: z.literal("batch/v1"), kind: z.literal("Job"), metadata: meta,
    spec: z.strictObject({
      completionMode: z.literal("Indexed"), completions: z.int(), parallelism: z.int(), backoffLimit: z.int(),
      template: z.strictObject({
        spec: z.strictObject({
          subdomain: z.string(), restartPolicy: z.enum(["OnFailure", "Never"]),
          containers: z.array(z.strictObject({
            name: z.string(), image: z.string(), command: z.array(z.string()), resources: z.strictObject({ limits: z.record(z.string(), z.int()) }),
            volumeMounts: z.array(z.strictObject({ name: z.string(), mountPath: z.string().startsWith("/") }))
          })),
          volumes: z.array(volume)
        })
      })
    })
  })
  const service = z.strictObject({ apiVersion: z.literal("v1"), kind: z.literal("Service"), metadata: meta, spec: z.strictObject({ clusterIP: z.literal("None"), publishNotReadyAddresses: z.boolean(), selector: z.record(z.string(), z.string()) }) })

  it.each(Object.keys(RUNS))("%s", (name) => {
    const [first, second] = parseAllDocuments(text(name, "sft.k8s.yaml")).map((d) => d.toJS() as unknown)
    const [svc, made] = [service.parse(first), job.parse(second)]
    expect(made.spec.template.spec.subdomain).toBe(svc.metadata.name)
    expect(made.spec.completions).toBe((JSON.parse(text(name, "layout.json")) as { ranksByNode: ReadonlyArray<number> }).ranksByNode.length)
    const mounted = made.spec.template.spec.containers[0]!.volumeMounts.map((m) => m.name)
    expect(mounted).toEqual(made.spec.template.spec.volumes.map((v) => v.name))
  })
})

/** As much of the trainer's example as finetune.py touches; its main says what it was given. */
const EXAMPLE = `
import json, os, sys
G_COMPONENT_KEY_TO_FIELD = {"tp": "tensor_model_parallel_size"}
class Standard:
    sequence_parallel = False
    recompute_granularity = recompute_method = recompute_num_layers = None
class MegatronMIMOProvider:
    def __init__(self, standard_provider): self.standard_provider, self.hooks = standard_provider, []
    @classmethod
    def from_standard_provider(cls, standard_provider, megatron_mimo_parallelism_config): return cls(standard_provider)
    def register_pre_wrap_hook(self, hook): self.hooks.append(hook)
class Section: clip_grad = 1.0
class Checkpoint:
    pretrained_checkpoint, load_optim, load_rng = None, True, True
class Config:
    def __init__(self): self.optimizer, self.checkpoint = Section(), Checkpoint()
def _build_config(**parts): return Config()
def main():
    provider = MegatronMIMOProvider.from_standard_provider(standard_provider=Standard(), megatron_mimo_parallelism_config=None)
    config = _build_config(model_provider=provider)
    print(json.dumps({"ep": G_COMPONENT_KEY_TO_FIELD.get("ep"), "fields": {k: v for k, v in vars(provider.standard_provider).items()}, "hooks": [h.__name__ for h in provider.hooks], "clip": config.optimizer.clip_grad, "checkpoint": vars(config.checkpoint), "argv": sys.argv[1:]}))
`

describe.skipIf(!has("python3"))("finetune.py", () => {
  const example = (name: string, words: ReadonlyArray<string> = ["--a", "b"]) => {
    const folder = at("trainer", "examples", "megatron_mimo", "qwen35_vl")
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, "finetune_qwen35_vl.py"), EXAMPLE)
    return spawnSync("python3", [at(name, "finetune.py"), ...words], { encoding: "utf8", env: { ...process.env, MEGATRON_BRIDGE: at("trainer") } })
  }

  it("gives the example what it has no option for, and its own command line", () => {
    const { stdout } = example("experts")
    expect(JSON.parse(stdout)).toEqual({
      ep: "expert_model_parallel_size",
      fields: { sequence_parallel: true, recompute_granularity: "full", recompute_method: "uniform", recompute_num_layers: 1 },
      hooks: ["freeze_routers"],
      clip: 1,
      checkpoint: {},
      argv: ["--a", "b"]
    })
  })

  it("gives the trainer a checkpoint with the names of wrapped modules, where that route is chosen", () => {
    const { words } = bash("renamed", "sft.sbatch", { SETUP_DIR: at("renamed"), ...NODES })
    expect([valueOf(words, "--ddp-checkpoint"), words.includes("--pretrained-checkpoint")]).toEqual([at("renamed", "checkpoint"), false])
    expect(JSON.parse(example("renamed", ["--a", "b", "--ddp-checkpoint", at("renamed", "checkpoint"), "--c"]).stdout)).toMatchObject({
      checkpoint: { pretrained_checkpoint: at("renamed", "checkpoint"), load_optim: false, load_rng: false }, argv: ["--a", "b", "--allow-random-init", "--c"]
    })
    // Going on: nothing of it.
    expect(JSON.parse(example("renamed", ["--load-checkpoint", "x"]).stdout)).toMatchObject({ checkpoint: {}, argv: ["--load-checkpoint", "x"] })
    const { status, stderr } = example("renamed", ["--ddp-checkpoint", at("nowhere")])
    expect([status, stderr]).toEqual([1, expect.stringContaining("is no Megatron checkpoint")])
    expect(text("renamed", "README.md")).toMatch(/`{3}sh\n {3}convert_megatron_mimo import .* --load-route ddp\n/)
    expect(text("renamed", "README.md")).toContain("checkpoint.pretrained_checkpoint")
  })

  it("a load route belongs to runs of components", async () => {
    expect(await run("setup", "sft", "nowhere", "--hf-model", "hf-words", "--load-route", "ddp")).toMatchObject({ code: 2, err: expect.stringContaining("MegatronMIMO") })
  })

  it("a field that the configuration does not have is an error", async () => {
    expect((await run("setup", "sft", "typo", ...RUNS["single"]!.split(" "), "--set", "optimizer.clip=1")).code).toBe(0)
    expect((await run("setup", "sft", "clipped", ...RUNS["single"]!.split(" "), "--set", "optimizer.clip_grad=0.5")).code).toBe(0)
    expect(example("typo").stderr).toContain("the configuration has no field optimizer.clip")
    expect(JSON.parse(example("clipped").stdout)).toMatchObject({ clip: 0.5 })
  })
})

/** As much of NeMo-Run as sft_nemo.py touches: it says what it was given. */
const NEMO_RUN = `
import json
class Packager: pass
class LocalTunnel:
    def __init__(self, *, job_dir): pass
class Script:
    def __init__(self, *, path, entrypoint): self.path, self.entrypoint = path, entrypoint
class LocalExecutor:
    def __init__(self, *, ntasks_per_node): self.fields = {"ntasks_per_node": ntasks_per_node}
class SlurmExecutor:
    def __init__(self, *, account, partition, time, nodes, ntasks_per_node, gpus_per_node, exclusive, container_image, container_mounts, additional_parameters, tunnel, packager):
        self.fields = {k: v for k, v in locals().items() if k not in ("self", "tunnel", "packager")}
class Experiment:
    def __init__(self, title): self.title = title
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def add(self, task, executor, name): self.said = [self.title, name, task.entrypoint, task.path, type(executor).__name__, executor.fields]
    def dryrun(self): print(json.dumps(["dryrun", *self.said]))
    def run(self, detach): print(json.dumps(["run", *self.said]))
`

describe.skipIf(!has("python3"))("sft_nemo.py", () => {
  const nemo = (name: string, ...words: ReadonlyArray<string>) => {
    mkdirSync(at("nemo"), { recursive: true })
    writeFileSync(at("nemo", "nemo_run.py"), NEMO_RUN)
    return spawnSync("python3", [at(name, "sft_nemo.py"), ...words], { encoding: "utf8", env: { ...process.env, PYTHONPATH: at("nemo") } })
  }

  it("runs sft.sh once on every node", () => {
    expect(JSON.parse(nemo("filled", "--dry-run").stdout)).toEqual(["dryrun", "filled", "training", "bash", at("filled", "sft.sh"), "SlurmExecutor", {
      account: "me", partition: "big", time: "01:00:00", nodes: 3, ntasks_per_node: 1, gpus_per_node: 8, exclusive: true, container_image: null, container_mounts: [],
      additional_parameters: { requeue: true }
    }])
    expect(JSON.parse(nemo("single", "--account", "mine").stdout)).toMatchObject(["run", "single", "training", "bash", at("single", "sft.sh"), "SlurmExecutor", {
      account: "mine", nodes: 1, gpus_per_node: 5, container_image: "repo/image:1", container_mounts: ["/data:/data"]
    }])
  })

  it("on this machine; without an account it says what is missing", () => {
    expect(JSON.parse(nemo("single", "--local").stdout)).toMatchObject(["run", "single", "training", "bash", at("single", "sft.sh"), "LocalExecutor", { ntasks_per_node: 1 }])
    expect(nemo("single")).toMatchObject({ status: 1, stderr: expect.stringContaining("--account") })
  })
})

/** The example again, down to the first call that needs GPUs. */
const DISTRIBUTED = EXAMPLE.replace("def main():", `class dist:
    @staticmethod
    def init_process_group(backend): print("init_process_group", backend, os.environ["RANK"], os.environ["WORLD_SIZE"]); sys.exit(0)
def main():
    dist.init_process_group("nccl")`)

describe.skipIf(!has("python3"))("a new user, by the README alone", () => {
  it.each([["hook", ["import", "verify"]], ["ddp", ["import", "verify"]]] as const)("from a sample to the creation of process groups, weights by the route %s", async (route, first) => {
    const home = at(`home-${route}`)
    mkdirSync(join(home, "bin"), { recursive: true })
    const user = cliIn(home)
    expect((await user("sample", "hf", "-q")).code).toBe(0)
    expect((await user("setup", "sft", "run", "--hf-model", "hf", "--images", "1*64x64", "--gpus-per-node", "2", "--load-route", route, "-q")).code).toBe(0)
    const commands = [...readFileSync(join(home, "run", "README.md"), "utf8").matchAll(/```sh\n\s*(.*)\n/g)].map((m) => m[1]!)
    const ours = commands.filter((c) => c.startsWith("convert_megatron_mimo")).map((c) => c.split(" ").slice(1))
    expect(ours.map(([word]) => word)).toEqual([...first, "export", "diff"])
    for (const words of ours.slice(0, first.length)) expect(await user(...words, "-q")).toMatchObject({ code: 0 })
    const folder = join(home, "examples", "megatron_mimo", "qwen35_vl")
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, "finetune_qwen35_vl.py"), DISTRIBUTED)
    // As many processes as torchrun would start, one after the other.
    writeFileSync(join(home, "bin", "torchrun"), `#!/usr/bin/env bash\nshift; n=$2; shift 2\nfor ((i = 0; i < n; i++)); do RANK=$i LOCAL_RANK=$i WORLD_SIZE=$n python3 "$@"; done\n`)
    chmodSync(join(home, "bin", "torchrun"), 0o755)
    expect(commands[first.length]).toBe("bash sft.sh")
    const { stderr, stdout } = spawnSync("bash", ["sft.sh"], { cwd: join(home, "run"), encoding: "utf8", env: { ...process.env, PATH: `${join(home, "bin")}:${process.env["PATH"]}`, MEGATRON_BRIDGE: home } })
    expect([stdout.trim().split("\n"), stderr]).toEqual([["init_process_group nccl 0 2", "init_process_group nccl 1 2"], ""])
  })
})

describe("LoRA", () => {
  it("of a model with components is the standard form, with the reason", async () => {
    const { out } = await run("setup", "sft", "told", "--hf-model", "hf-dense", "--mode", "lora", "--json")
    expect(JSON.parse(out)).toMatchObject({ form: "standard", mode: "lora", instead: [{ rule: 40, trainer: expect.stringContaining("reads `peft`") }] })
  })

  it("with components asked for by name is refused", async () => {
    const { code, err } = await run("setup", "sft", "never", "--hf-model", "hf-dense", "--mode", "lora", "-c", "language=tp=4", "-c", "images=tp=1")
    expect(code).toBe(2)
    expect(err).toContain("rule 40")
    expect(existsSync(at("never"))).toBe(false)
  })

  it("has its sections, and its overrides behind them", () => {
    expect(text("adapters", "overrides.yaml")).toContain("peft:\n  dim: 16\n  alpha: 32\n")
    expect(text("adapters", "finetune.py")).toContain("import _peft_common_vlm as common")
    expect(text("adapters", "arguments.sh")).toContain("optimizer.clip_grad=0.5")
    expect(text("adapters", "README.md")).toContain("linear-attention layers get none")
    expect(text("words", "finetune.py")).toContain("import _sft_common as common")
  })
})

describe("datasets", () => {
  it("of the trainer, by its names for the form", async () => {
    expect(valueOf(bash("filled", "sft.sh", { NODE_RANK: "0", MASTER_ADDR: "a1" }).words, "--dataset-name")).toBe("cord_v2")
    expect(text("adapters", "finetune.py")).toContain('config.dataset = build_dataset_config(config, "cord-v2")')
    expect(text("words", "finetune.py")).toContain('config.dataset = build_dataset_config(config, "squad")')
    expect(await run("setup", "sft", "nowhere", "--hf-model", "hf-words", "--dataset", "cord_v2")).toMatchObject({ code: 2, err: expect.stringContaining("squad, tulu3") })
  })

  it("of the user, with the tokenizer or the processor of the model", () => {
    expect(text("own", "finetune.py")).toContain('hf_dataset=HFDatasetSourceConfig(path_or_dataset="/data/mine", subset="small", schema_adapter="mine")')
    expect(text("own", "finetune.py")).toContain("config.tokenizer.tokenizer_model = args.hf_model")
    expect(text("pictures", "finetune.py")).toContain('config.dataset.source = HFDatasetSourceConfig(path_or_dataset="/data/mine")')
    expect(text("pictures", "finetune.py")).toContain("config.dataset.hf_processor_path = args.hf_model")
  })
})

describe.skipIf(bridge === undefined || !has("python3"))("the trainer's own code", () => {
  const script = join(bridge ?? "", "examples/megatron_mimo/qwen35_vl/finetune_qwen35_vl.py")
  const here = new URL(".", import.meta.url).pathname

  it.each(["packed", "single", "experts", "filled", "renamed"])("takes the arguments of %s", (name) => {
    const words = bash(name, "sft.sbatch", { SETUP_DIR: at(name), ...NODES }).words
    const first = words.indexOf(at(name, "finetune.py")) + 1
    const stop = words.findIndex((w, i) => i > first && (w === ":" || w.startsWith("WORLD_SIZE=")))
    // What finetune.py makes of its own option before the example looks.
    const given = words.slice(first, stop).join("\n").replace(/--ddp-checkpoint\n.*/, "--allow-random-init").split("\n")
    const parsed = JSON.parse(execFileSync("python3", [join(here, "trainerParser.py"), script, ...given], { encoding: "utf8" })) as Readonly<Record<string, unknown>>
    expect(parsed).toMatchObject({ train_iters: 500, lr_decay_iters: 500, checkpoint_interval: 50, pretrained_checkpoint: name === "renamed" ? null : at(name, "checkpoint"), load_checkpoint: null })
    expect((parsed["component"] as ReadonlyArray<string>).length).toBe(2)
  })

  it.each(["adapters", "words", "own", "pictures"])("has what finetune.py of %s imports", (name) => {
    const imports = [...text(name, "finetune.py").matchAll(/^from (megatron\.bridge[\w.]*) import (.*)/gm)]
      .flatMap(([, module, symbols]) => symbols!.split(", ").map((symbol) => [module!, symbol.split(" ")[0]!] as const))
    expect(imports.length).toBe(name === "own" ? 7 : 6)
    for (const [module, symbol] of imports) {
      const path = join(bridge!, "src", ...module.split("."))
      const source = readFileSync(existsSync(`${path}.py`) ? `${path}.py` : join(path, "__init__.py"), "utf8")
      expect([module, symbol, new RegExp(`(?:def|class) ${symbol}\\b|import .*\\b${symbol}\\b|"${symbol}"`).test(source)]).toEqual([module, symbol, true])
    }
  })

  it.skipIf(!existsSync(megatronLm)).each(["adapters", "words", "own", "pictures", "renamed"])("has the fields that are set by %s", (name) => {
    const fields = JSON.parse(execFileSync("python3", [join(here, "trainerFields.py"), bridge!, megatronLm], { encoding: "utf8" })) as Readonly<Record<string, ReadonlyArray<string>>>
    const dataset = ["words", "own"].includes(name) ? "dataset of text" : "dataset with a tower"
    const script = text(name, "finetune.py")
    const sections = name === "renamed" ? {} : parseDocument(text(name, "overrides.yaml")).toJS() as Readonly<Record<string, Readonly<Record<string, unknown>>>>
    const paths = [
      ...Object.entries(sections).flatMap(([section, values]) => Object.keys(values).map((field) => [section, field])),
      ...[...script.matchAll(/^ +config\.(\w+)\.(\w+) = /gm)].map(([, section, field]) => [section!, field!]),
      ...[...script.matchAll(/set_field\(config, "(\w+)\.(\w+)"/g)].map(([, section, field]) => [section!, field!]),
      ...[...script.matchAll(/(?:[( ])(path_or_dataset|subset|schema_adapter)=/g)].map(([, field]) => ["source", field!])
    ]
    expect(paths.length).toBeGreaterThan(2)
    for (const [section, field] of paths) {
      const known = fields[section === "dataset" ? dataset : section!]
      expect([section, field, known?.includes(field!)]).toEqual([section, field, true])
    }
  })

  it("judges layouts as the rules do", () => {
    const one = { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }
    const layouts: ReadonlyArray<Layout> = [
      ...["packed", "single", "experts", "filled"].map((name): Layout => {
        const { components, worldSize } = JSON.parse(text(name, "layout.json")) as { worldSize: number; components: ReadonlyArray<{ name: string } & Layout["components"][number]["parallelism"]> }
        return { worldSize, components: components.map(({ name: component, ...parallelism }) => ({ name: component, parallelism })) }
      }),
      ...[[18, 17], [16, 15], [24, 16]].map(([worldSize, rankOffset]): Layout => ({
        worldSize: worldSize!, components: [{ name: "language", parallelism: { ...one, tp: 4, pp: 2, dp: 2 } }, { name: "images", parallelism: { ...one, rankOffset: rankOffset! } }]
      })),
      { worldSize: 4, components: [{ name: "language", parallelism: { ...one, tp: 3 } }, { name: "images", parallelism: { ...one, rankOffset: 3 } }] }
    ]
    const errors = JSON.parse(execFileSync("python3", [join(here, "trainerConfig.py"), join(bridge!, "src/megatron/bridge/models/megatron_mimo/megatron_mimo_config.py")], { encoding: "utf8", input: JSON.stringify(layouts) })) as ReadonlyArray<string | null>
    for (const [i, layout] of layouts.entries()) {
      const broken = brokenLayoutRule(layout, ["language", "images"])
      if (broken === undefined) expect(errors[i]).toBeNull()
      else expect(errors[i]).toContain(broken.trainer)
    }
  })
})
