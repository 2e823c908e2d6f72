/** Flags that would do nothing where they stand are refused, with the reason. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { cliIn } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "idle-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(async () => {
  expect((await run("sample", "hf", "-q")).code).toBe(0)
  expect((await run("import", "--hf-model", "hf", "--megatron-path", "mg", "-q")).code).toBe(0)
})

it("a pattern that matches nothing is noted", async () => {
  for (const line of ["import --hf-model hf --megatron-path never --dry-run", "export --hf-model hf --megatron-path mg --hf-path never --dry-run"]) {
    const { code, out } = await run(...line.split(" "), "--allow-unmapped", "nothing.*")
    expect([code, out]).toEqual([0, expect.stringContaining("note --allow-unmapped nothing.* leaves nothing behind")])
  }
})

it.each([
  ["inspect mg --list --json", "--list would do nothing: --json has every tensor anyway"],
  ["inspect mg --list --csv", "--list would do nothing: --csv has a line for each tensor anyway"],
  ["inspect mg --chunks --summary", "--chunks would do nothing: --summary lists no tensors"],
  ["inspect mg --stats --summary --json", "--stats would do nothing"],
  ["inspect mg --filter x --summary", "--filter would do nothing: sums are of everything"],
  ["inspect mg --summary --csv", "--summary would do nothing: --csv has tensors only"],
  ["inspect mg --threads 2", "--threads would do nothing: only --stats reads tensors"],
  ["diff hf mg --headers --io direct", "--io would do nothing: --headers reads no tensors"],
  ["verify --deep mg --max-memory 64MB", "--max-memory would do nothing"],
  ["verify hf mg --max-memory 4GiB", "--max-memory: more than 2GiB would do nothing"],
  ["verify hf mg --concurrency 300", "--concurrency 300: between 1 and 256"],
  ["doctor mg --dir .", "--dir would do nothing: a checkpoint is examined"],
  ["export --hf-model hf --megatron-path mg --hf-path out --mtp drop --mtp-from hf", "--mtp-from would do nothing: --mtp drop leaves those tensors out"],
  ["roundtrip --hf-model hf --overwrite", "--overwrite would do nothing: nothing is kept"],
  ["plan --hf-model hf --vocab-size 10", "--vocab-size would do nothing: it goes with an export"],
  ["plan --hf-model hf --megatron-path mg --tp 2", "--tp goes with an import"],
  ["plan --hf-model hf --megatron-path mg --standard", "--standard goes with an import"],
  ["plan --hf-model hf --standard --account-for-loss-in-pipeline-split", "--account-for-loss-in-pipeline-split would do nothing: --pp is 1"],
  ["plan --hf-model hf --tp 2 -c language=tp=2", "--tp gives one layout, --component one for each component"],
  ["import --hf-model hf --megatron-path never --hf-revision main", "--hf-revision main: hf is a directory, which has no revisions"],
  ["import --hf-model hf --megatron-path never --dry-run --report page.html", "--dry-run writes nothing"],
  ["relabel mg never --to standard -c language=tp=2", "--component goes with --to mimo"],
  ["verify --deep mg --report page.html", "verify --deep writes no report"]
])("%s", async (line, fragment) => {
  const { code, err, out } = await run(...line.split(" "))
  expect(code).toBe(2)
  expect(line.includes("--json") ? out : err).toContain(line.includes("--json") ? `"message": "${fragment}` : `error: ${fragment}`)
})
