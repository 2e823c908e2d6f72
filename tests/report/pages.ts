/** Pages of every kind about a small mixture of experts that sees, written by the command line; what the browser looks at. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** A copy of a Hugging Face model in which some values are others. */
const tune = (from: string, to: string): void => {
  cpSync(from, to, { recursive: true })
  const shards = readdirSync(to).filter((file) => file.endsWith(".safetensors")).sort()
  for (const [n, name] of shards.entries()) {
    const bytes = readFileSync(join(to, name))
    // Neither every tensor nor all of them equally.
    for (let k = 8 + Number(bytes.readBigUInt64LE(0)); k < bytes.length; k += n === 1 ? 202 : 10_002) bytes[k]! ^= 1 << (k % 7)
    writeFileSync(join(to, name), bytes)
  }
}

export const PAGES = ["report.html", "two.html", "diff.html", "verify.html", "plan.html", "half.html", "import.html"] as const

/** Write {@link PAGES} to `folder`; `command` runs there. */
export const writePages = async (folder: string, command: (...args: ReadonlyArray<string>) => Promise<unknown>): Promise<void> => {
  await command("sample", "--model", "qwen3.5-vl-moe", "hf", "-q")
  await command("import", "--hf-model", "hf", "--megatron-path", "megatron", "-c", "language=tp=2,pp=2,ep=2,dp=2", "-c", "images=tp=1", "--report", "import.html", "-q")
  await command("import", "--hf-model", "hf", "--megatron-path", "stages", "-c", "language=pp=4,dp=2", "-c", "images=tp=1", "--torch-dtype", "float16", "--mtp", "drop", "--report", "half.html", "-q")
  await command("report", "hf", "megatron", "-o", "report.html", "-q")
  await command("report", "megatron", "stages", "-o", "two.html", "-q")
  await command("verify", "hf", "stages", "--report", "verify.html", "-q")
  tune(join(folder, "hf"), join(folder, "tuned"))
  await command("diff", "hf", "tuned", "--report", "diff.html", "-q")
  await command("plan", "--hf-model", "hf", "-c", "language=tp=2,dp=4,ep=4", "-c", "images=tp=1", "--report", "plan.html", "-q")
}
