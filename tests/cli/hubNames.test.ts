/** Models of the Hub's cache, by name or by their folder in it, wherever a command takes a model or a checkpoint. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { runCli } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "hub-names-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
const run = (line: string) => runCli(line.split(" "), { cwd: work, env: { HF_HOME: join(work, "home"), HF_HUB_CACHE: undefined } })

const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const repository = join("home", "hub", "models--Org--Name")

beforeAll(async () => {
  expect((await run("sample hf -q")).code).toBe(0)
  expect((await run("import --hf-model hf --megatron-path mg -q")).code).toBe(0)
  mkdirSync(join(work, repository, "refs"), { recursive: true })
  writeFileSync(join(work, repository, "refs", "main"), COMMIT)
  cpSync(join(work, "hf"), join(work, repository, "snapshots", COMMIT), { recursive: true })
})

it.each([
  "import --hf-model Org/Name --megatron-path never --dry-run",
  `import --hf-model ${repository} --megatron-path never --dry-run`,
  `import --hf-model Org/Name --hf-revision ${COMMIT} --megatron-path never --dry-run`,
  "export --hf-model Org/Name --megatron-path mg --hf-path never --mtp-from Org/Name --dry-run",
  "plan --hf-model Org/Name",
  "roundtrip --hf-model Org/Name",
  "verify --hf-model Org/Name --megatron-path mg",
  "verify Org/Name mg",
  `verify ${repository} hf`,
  "diff Org/Name mg",
  "inspect Org/Name",
  "inspect Org/Name --stats --filter lm_head.weight",
  "doctor Org/Name",
  "report Org/Name mg -o page.html",
  "relabel mg standard --to standard --hf-model Org/Name",
  "scaffold Org/Name"
])("%s", async (line) => {
  const { code, err } = await run(line)
  expect([code, err]).toEqual([0, expect.not.stringContaining("error")])
})

it.each(["plan --hf-model Org/Other", "inspect Org/Other", "diff Org/Other mg", "scaffold Org/Other", "verify --hf-model Org/Other --megatron-path mg"])(
  "%s says what was looked at, and how to get it",
  async (line) => {
    const { code, err } = await run(line)
    expect(code).toBe(3)
    expect(err).toContain("Looked at: ")
    expect(err).toContain("models--Org--Other")
    expect(err).toContain("hf download Org/Other")
  }
)

it("a path in a folder that is here is a path", async () => {
  const { code, err } = await run("inspect mg/iter_0000007")
  expect(code).toBe(3)
  expect(err).toBe("error: mg/iter_0000007: does not exist\n")
})
