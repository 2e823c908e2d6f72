/**
 * The command lines of the reference's conversion programs: every flag of every subcommand, in each of its spellings, with a value that
 * makes sense. Facts: Megatron-Bridge 067f987d, the `add_argument` calls of the files named.
 */

export interface ReferenceProgram {
  readonly file: string
  /** Subcommand there; programs without one are a subcommand here. */
  readonly command: "import" | "export" | "roundtrip"
  /** Those of one entry exclude each other. */
  readonly flags: ReadonlyArray<Flag>
}

type Flag = string | ReadonlyArray<string>

/** Lines that together have every flag of a program. */
export const linesOf = ({ flags }: ReferenceProgram): ReadonlyArray<string> => {
  const groups = flags.map((flag) => (typeof flag === "string" ? [flag] : flag))
  const most = groups.reduce((n, group) => Math.max(n, group.length), 0)
  return Array.from({ length: most }, (_, i) => groups.flatMap((group) => (i < group.length ? [group[i]!] : [])).join(" "))
}

/** `_add_execution_arguments` */
const EXECUTION: ReadonlyArray<Flag> = [
  ["--executor local", "--executor slurm"], ["--device cpu", "--device gpu"], "--nodes 1", ["--gpus-per-node 8", "--gpus_per_node 8"], "--mem 0", "--account ACCOUNT",
  "--partition PARTITION", "--time 04:00:00", "--gres gpu:8", "--exclusive", "--no-gpu-resource-request", "--container-image IMAGE", "--mount /workspace",
  "--mount /a:/b", "--env HF_TOKEN", "--srun-arg=--mpi=pmix", "--experiment-name NAME", ["--submission-dry-run", "--dry-run"], "--detach"
]
/** `_add_parallelism_arguments` */
const PARALLELISM: ReadonlyArray<Flag> = [
  ["-tp 1", "-tp=1", "--tp 1", "--tensor-parallel-size 1", "--tensor-model-parallel-size 1"],
  ["-pp 1", "--pp 1", "--pipeline-parallel-size 1", "--pipeline-model-parallel-size 1"],
  ["-ep 1", "--ep 1", "--expert-parallel-size 1", "--expert-model-parallel-size 1"],
  ["-etp 1", "--etp 1", "--expert-tensor-parallel-size 1"],
  "--distributed-timeout-minutes 60"
]
/** `_add_common_conversion_arguments` */
const COMMON: ReadonlyArray<Flag> = [["--torch-dtype bfloat16", "--torch-dtype float16", "--torch-dtype=float32"], "--trust-remote-code", "--overwrite", ...PARALLELISM]
const EXPORT: ReadonlyArray<Flag> = ["--no-progress", "--not-strict", ["--distributed-save", "--no-distributed-save"], "--save-every-n-ranks 2", "--export-weight-dtype bfloat16"]
const FSDP = ["--tp 1", "--cp 1", "--ep 1", "--torch-dtype bfloat16", "--trust-remote-code", "--ckpt-format fsdp_dtensor"]
const MIMO: ReadonlyArray<Flag> = ["--torch-dtype bfloat16", "--trust-remote-code", ["--log-level DEBUG", "--log-level INFO", "--log-level WARNING", "--log-level ERROR"]]
const DIFFUSION_EXPORT = ["--no-progress", "--not-strict"]

export const referencePrograms: ReadonlyArray<ReferenceProgram> = [
  { file: "examples/conversion/convert_megatron_mimo.py", command: "import", flags: MIMO },
  { file: "examples/conversion/convert_megatron_mimo.py", command: "export", flags: MIMO },
  { file: "scripts/conversion/convert.sh", command: "import", flags: [...EXECUTION, ...COMMON, "--low-memory-save"] },
  { file: "scripts/conversion/convert.sh", command: "export", flags: [...EXECUTION, ...COMMON, ...EXPORT] },
  { file: "scripts/conversion/convert.sh", command: "roundtrip", flags: [...EXECUTION, ...PARALLELISM, "--trust-remote-code"] },
  { file: "examples/conversion/hf_megatron_roundtrip.py", command: "roundtrip", flags: ["--trust-remote-code", "--output-dir OUT"] },
  {
    file: "examples/conversion/hf_megatron_roundtrip_multi_gpu.py",
    command: "roundtrip",
    flags: [
      "--output-dir OUT", "--tp 1", "--pp 1", "--ep 1", "--etp 1", ["--megatron-save-path SAVE", "--megatron-load-path MEGATRON"], "--trust-remote-code",
      ["--strict", "--not-strict"], ["--distributed-save", "--no-distributed-save", "--skip-save"], "--atol 0.1", "--rtol 1e-5"
    ]
  },
  { file: "examples/conversion/hf_megatron_roundtrip_benchmark.py", command: "roundtrip", flags: ["--tp 1", "--pp 1", "--ep 1", "--etp 1", "--trust-remote-code", "--no-progress"] },
  { file: "examples/conversion/mfsdp/hf_fsdp_roundtrip.py", command: "roundtrip", flags: ["--output-dir OUT", "--tp 1", "--cp 1", "--ep 1", "--trust-remote-code"] },
  { file: "examples/conversion/mfsdp/convert_checkpoints_fsdp.py", command: "import", flags: [...FSDP, "--no-low-memory-save"] },
  { file: "examples/conversion/mfsdp/convert_checkpoints_fsdp.py", command: "export", flags: [...FSDP, "--no-progress", "--not-strict", "--distributed-save", "--save-every-n-ranks 1"] },
  { file: "examples/models/wan/conversion/convert_checkpoints.py", command: "import", flags: ["--torch-dtype float32", "--device-map auto", "--trust-remote-code"] },
  { file: "examples/models/wan/conversion/convert_checkpoints.py", command: "export", flags: DIFFUSION_EXPORT },
  { file: "examples/models/nemotron_labs_diffusion/convert_checkpoints.py", command: "import", flags: ["--torch-dtype float16", "--device cuda:0"] },
  { file: "examples/models/nemotron_labs_diffusion/convert_checkpoints.py", command: "export", flags: DIFFUSION_EXPORT },
  { file: "examples/megatron_mimo/llava/convert_hf_llama_to_megatron.py", command: "import", flags: ["--tensor-parallel-size 1", "--use-te", "--megatron-vocab-size 32256"] },
  { file: "verl: scripts/converter_hf_to_mcore.py", command: "import", flags: ["--pp_size 1", "--ep_size 1", "--use_cpu_initialization", "--test", "--trust_remote_code"] },
  { file: "examples/megatron_mimo/llava/whisper/convert_hf_whisper_to_megatron.py", command: "import", flags: ["--tensor-parallel-size 1", "--use-te", "--verify"] }
]

/** Other names of what has to be said, each with the name that it stands for. */
export const referenceNames: ReadonlyArray<readonly [command: "import" | "export" | "roundtrip", there: string, here: string]> = [
  ["import", "--hf-model-id", "--hf-model"],
  ["import", "--hf_model", "--hf-model"],
  ["import", "--megatron_path", "--megatron-path"],
  ["import", "--megatron-save-path", "--megatron-path"],
  ["import", "--output", "--megatron-path"],
  ["import", "--out-path", "--megatron-path"],
  ["import", "--output_path", "--megatron-path"],
  ["export", "--megatron-load-path", "--megatron-path"],
  ["export", "--megatron-model-path", "--megatron-path"],
  ["export", "--hf-save-path", "--hf-path"],
  ["roundtrip", "--hf-model-id", "--hf-model"]
]
