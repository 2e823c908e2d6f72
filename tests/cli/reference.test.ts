/** Command lines of the reference's conversion programs, flag by flag. */
import { describe, expect, it } from "vitest"
import { fromReference } from "../../src/cli/reference.ts"

const words = (line: string): ReadonlyArray<string> => line.split(" ")

describe("reference command lines", () => {
  it.each([
    ["-tp 2", "--tp 2"],
    ["--tensor-parallel-size 2", "--tp 2"],
    ["--tensor-model-parallel-size=2", "--tp=2"],
    ["--tensor_model_parallel_size 2", "--tp 2"],
    ["--pipeline-parallel-size 2", "--pp 2"],
    ["--expert-model-parallel-size 4", "--ep 4"],
    ["--expert-tensor-parallel-size 1", "--etp 1"],
    ["--hf-model-id org/name", "--hf-model org/name"],
    ["--hf_model x --megatron_path y", "--hf-model x --megatron-path y"],
    ["--submission-dry-run", "--dry-run"],
    ["--log-level INFO", "--log-level info"],
    ["--log-level=DEBUG", "--log-level=debug"],
    ["--component language=tp=2", "--component language=tp=2"],
    ["--allow-unmapped a_b=c_d", "--allow-unmapped a_b=c_d"]
  ])("%s is %s", (reference, ours) => {
    expect(fromReference(words(`import ${reference}`))).toEqual({ args: words(`import ${ours}`), notes: [] })
  })

  it.each([
    "--device gpu", "--executor slurm", "--nodes 2", "--gpus-per-node 8", "--gpus_per_node=8", "--mem 0", "--account a", "--partition p", "--time 04:00:00", "--gres gpu:8",
    "--exclusive", "--no-gpu-resource-request", "--container-image i", "--mount /data", "--env HF_TOKEN", "--srun-arg=--mpi=pmix", "--experiment-name n", "--detach",
    "--distributed-timeout-minutes 10", "--low-memory-save", "--distributed-save", "--no-distributed-save", "--save-every-n-ranks 2", "--not-strict", "--strict"
  ])("%s is taken away and said", (flags) => {
    const { args, notes } = fromReference(words(`export ${flags} --hf-path out`))
    expect(args).toEqual(words("export --hf-path out"))
    expect(notes).toHaveLength(1)
    expect(notes[0]).toContain(words(flags)[0]!.split("=")[0]!.replaceAll("_", "-"))
  })

  it("of two dtypes of an export, that of the weights holds", () => {
    expect(fromReference(words("export --torch-dtype bfloat16 --export-weight-dtype float32 --hf-path o")).args).toEqual(words("export --torch-dtype float32 --hf-path o"))
    expect(fromReference(words("export --torch-dtype=bfloat16 --export-weight-dtype=float32")).args).toEqual(words("export --torch-dtype=float32"))
  })

  it("what is nobody's stays for the parser to name", () => {
    expect(fromReference(words("import --no-such thing")).args).toEqual(words("import --no-such thing"))
    expect(fromReference(words("doctor --device gpu")).args).toEqual(words("doctor --device gpu"))
    expect(fromReference(words("import --hf-model m -- --device gpu")).args).toEqual(words("import --hf-model m -- --device gpu"))
  })
})
