/**
 * Import and export every model below a folder, in one process: `NAME/hf` → `NAME/megatron` → `NAME/exported`. What is refused is
 * named on standard error, and the exit code is 1.
 */
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { exportCheckpoint, importCheckpoint } from "../../src/index.ts"

const [work] = process.argv.slice(2) as [string]
const failures: Array<string> = []
for (const name of (await readdir(work)).sort()) {
  const [hfModel, megatron, exported] = ["hf", "megatron", "exported"].map((part) => join(work, name, part)) as [string, string, string]
  try {
    await importCheckpoint({ hfModel, standard: true }, megatron, { checksum: false })
    await exportCheckpoint({ hfModel, standard: true }, megatron, exported)
  } catch (error) {
    failures.push(`${name}: ${String(error)}`)
  }
}
if (failures.length > 0) {
  console.error(failures.join("\n"))
  process.exitCode = 1
}
