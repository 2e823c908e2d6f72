/** Command lines of the reference's conversion programs, flag by flag. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { fromReference } from "../../src/cli/reference.ts"
import { linesOf, referenceNames, referencePrograms } from "./referencePrograms.ts"
import { cliIn } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "reference-"))
const run = cliIn(work)
beforeAll(async () => {
  expect((await run("sample", "hf", "-q")).code).toBe(0)
  expect((await run("import", "--hf-model", "hf", "--megatron-path", "MEGATRON", "-c", "language=tp=2", "-c", "images=tp=1", "-q")).code).toBe(0)
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

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

/** What every line of a subcommand has, with nothing written by import and export. */
const LEAST: Readonly<Record<"import" | "export" | "roundtrip", string>> = {
  import: "import --hf-model hf --megatron-path NEVER --dry-run",
  export: "export --hf-model hf --megatron-path MEGATRON --hf-path NEVER --dry-run",
  roundtrip: "roundtrip --hf-model hf"
}

describe("command lines of the reference's programs run", () => {
  it.each(referencePrograms)("$file $command", async (program) => {
    for (const line of linesOf(program)) {
      const { code, err } = await run(...words(`${LEAST[program.command].replace(line.includes("dry-run") ? " --dry-run" : "\n", "")} ${line}`))
      const others = err.split("\n").filter((text) => text !== "" && !/^(note|debug|info): /.test(text))
      expect({ line, code, others }).toEqual({ line, code: 0, others: [] })
      for (const folder of ["OUT", "SAVE"]) rmSync(join(work, folder), { recursive: true, force: true })
    }
    expect(existsSync(join(work, "NEVER"))).toBe(false)
  })

  it.each(referenceNames)("%s %s is %s", async (command, there, here) => {
    const { code, err } = await run(...words(LEAST[command].replace(`${here} `, `${there} `)))
    expect({ code, err }).toEqual({ code: 0, err: "" })
  })

  it("with a flag before the command, and with --json: what is not needed is said on stderr", async () => {
    const { code, err, out } = await run(...words(`--log-level INFO ${LEAST.import} --device gpu --json`))
    expect([code, err]).toEqual([0, "note: --device is not needed: bytes are moved without a GPU\n"])
    expect(JSON.parse(out)).toMatchObject({ ok: true, command: "import" })
  })

  it("a whole line of convert.sh", async () => {
    const { code, err, out } = await run(...words(
      "import --executor slurm --device gpu --nodes 1 --gpus-per-node 8 --account A --partition P --time 01:00:00 --container-image i --mount /workspace --env HF_TOKEN " +
      "--hf-model hf --megatron-path NEVER --tp 2 --pp 1 --ep 1 --etp 1 --low-memory-save --submission-dry-run"))
    expect(code).toBe(0)
    expect(out).toContain("standard)")
    expect(err.trimEnd().split("\n")).toHaveLength(11)
  })
})

describe("export --component", () => {
  const line = (...components: ReadonlyArray<string>) => run(...words(LEAST.export), ...components.flatMap((c) => ["--component", c]))

  it("as it was written says nothing", async () => {
    const { code, out } = await line("language=tp=2", "images=tp=1")
    expect([code, out.includes("--component")]).toEqual([0, false])
  })

  it("of another layout says which, and goes on", async () => {
    const { code, out } = await line("language=tp=4,dp=1", "images=tp=1,rank_offset=4")
    expect(code).toBe(0)
    expect(out).toContain("note --component: language was written with tp=2, not tp=4; images was written with rank_offset=2, not rank_offset=4; an export reads any layout")
  })

  it("of a component that is not there is refused, with those that are", async () => {
    const { code, err } = await line("video=tp=1")
    expect([code, err]).toEqual([2, "error: --component video: the checkpoint has no such component\n  It has language, images. An export needs no --component: it reads any layout.\n"])
  })
})

describe("roundtrip", () => {
  it("prints the reference's table and its last line, and leaves nothing", async () => {
    const { code, out } = await run("roundtrip", "--hf-model", "hf", "--component", "language=tp=2", "--component", "images=tp=1", "--work-dir", ".")
    expect(code).toBe(0)
    expect(out).toMatch(/^Hugging Face Weights Verification\n/)
    expect(out).toMatch(/\nWeight verification: 104\/104 compared weights matched\n$/)
  })

  it("keeps what it is told to keep", async () => {
    const { code, out } = await run("roundtrip", "--hf-model", "hf", "--output-dir", "kept", "--megatron-save-path", "saved", "--json")
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ equal: 104, total: 104, form: "mimo", hfPath: join("kept", "hf"), megatronPath: "saved" })
    expect((await run("verify", "hf", "kept/hf", "-q")).code).toBe(0)
    expect((await run("verify", "hf", "saved", "-q")).code).toBe(0)
  })

  it("of a checkpoint that holds something else ends with 1 and names the weights", async () => {
    expect((await run("import", "--hf-model", "hf", "--megatron-path", "half", "--torch-dtype", "float16", "-q")).code).toBe(0)
    const { code, out } = await run("roundtrip", "--hf-model", "hf", "--megatron-load-path", "half", "--json")
    expect(code).toBe(1)
    const { equal, tensors, total } = JSON.parse(out) as { equal: number; total: number; tensors: ReadonlyArray<{ status: string; dtype: string; shape: ReadonlyArray<number> }> }
    expect(tensors.filter((t) => t.status === "equal")).toHaveLength(equal)
    expect(tensors).toHaveLength(total)
    expect(equal).toBeLessThan(total)
  })
})

it("docs/migration.md has every one of their flags and programs", () => {
  const page = readFileSync(new URL("../../docs/migration.md", import.meta.url), "utf8")
  const flags = new Set([...referencePrograms.flatMap((program) => linesOf(program).flatMap(words)).filter((word) => word.startsWith("-")), ...referenceNames.map(([, there]) => there)]
    .map((flag) => flag.split("=")[0]!.replaceAll("_", "-")))
  expect(flags.size).toBeGreaterThan(60)
  expect([...flags].filter((flag) => !new RegExp(`\`${flag}[ \`]`).test(page.replaceAll(/`(roundtrip|export|import) --/g, "`--")))).toEqual([])
  const programs = new Set(referencePrograms.map(({ file }) => file.split("/").at(-1)!))
  expect([...programs].filter((name) => !page.includes(name.replace(/convert_hf_.*_to_megatron/, "convert_hf_*_to_megatron")))).toEqual([])
})
