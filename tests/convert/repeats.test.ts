/** Stored rows that repeat one HF tensor: alike after an import, looked at by every export and by verify. */
import { Effect } from "effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { fillWeights } from "../../src/conformance/WeightGenerator.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { Disk } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { verifyHfMegatron } from "../../src/verify/verify.ts"
import { toys } from "../families/toys.ts"

const work = mkdtempSync(join(tmpdir(), "repeats-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
const OPTIONS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

describe.each([
  ["values that are keys", "gemma-4-shared-kv", /k_proj\.weight$/],
  ["a gate per head", "step-3.5-mtp", /layers\.0\.self_attn\.g_proj\.weight$/]
])("%s", (_, toyName, repeated) => {
  const toy = toys.find(({ name }) => name === toyName)!
  const hf = join(work, toyName)
  const megatron = `${hf}-megatron`

  it("come back, and are refused by name once they differ", async () => {
    await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: false }, hf: { ...toy, tensors: [...toy.tensors] } }, hf))
    const prepared = await run(prepareImport(families, hf, { ...OPTIONS, form: "standard", layout: () => standardLayout({}), step: 0 }))
    await run(prepared.run(megatron, { overwrite: false }))
    const before = await run(prepareExport(families, hf, megatron, OPTIONS))
    expect(before.plan.repeats.length).toBeGreaterThan(0)
    const alike = await run(verifyHfMegatron(families, hf, megatron, {}))
    expect(alike.equal).toBe(alike.total)

    // One element of the second time that the tensor's first row is stored.
    const { directory } = await run(openCheckpoint(megatron))
    expect(flipSecond(directory, toy.tensors.filter(({ name }) => repeated.test(name)))).toBe(true)
    const failure = await run(Effect.flip(prepareExport(families, hf, megatron, OPTIONS)))
    expect(failure).toMatchObject({ code: "plan/repeats-differ" })
    const names = "names" in failure ? failure.names as ReadonlyArray<string> : []
    expect(names).toHaveLength(1)
    expect(names[0]).toMatch(/self_attention\.linear_qkv\.weight$/)
    const differing = await run(verifyHfMegatron(families, hf, megatron, {}))
    expect(differing.tensors.filter(({ status }) => status === "different").map(({ name }) => name)).toEqual(names)
    const allowed = await run(prepareExport(families, hf, megatron, { ...OPTIONS, allowUnmapped: names }))
    expect(allowed.report.notes.join()).toContain("the first of them are written")
  })
})

/** Change a byte where the first row of one of the tensors stands for the second time in an item file. */
const flipSecond = (directory: string, tensors: ReadonlyArray<(typeof toys)[number]["tensors"][number]>): boolean => {
  for (const name of readdirSync(directory).filter((file) => file.endsWith(".distcp"))) {
    const path = join(directory, name)
    const bytes = readFileSync(path)
    for (const tensor of tensors) {
      const row = new Uint8Array(tensor.shape[1]! * 2)
      fillWeights(row, tensor.name, tensor.dtype, 0, { fp32Islands: false })
      const second = bytes.indexOf(row, bytes.indexOf(row) + 1)
      if (second < 0) continue
      bytes[second]! ^= 1
      writeFileSync(path, bytes)
      rmSync(join(directory, ".checksums.json"), { force: true })
      return true
    }
  }
  return false
}
