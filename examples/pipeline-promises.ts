/**
 * The same with plain promises: import, export, verify, and a loop over the weights.
 *
 *   npm run example:promises
 */
import { Effect } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { samples } from "../routes/samples/index.ts"
import { writeSample } from "../src/conformance/Sample.ts"
import { Disk, exportCheckpoint, families, importCheckpoint, streamHfWeights, verifyCheckpoint } from "../src/index.ts"

const work = await mkdtemp(join(tmpdir(), "pipeline-"))
try {
  const model = { hfModel: join(work, "hf"), components: ["language=tp=2", "images=tp=1"] }
  const megatron = join(work, "megatron")
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, model.hfModel, { overwrite: false }).pipe(Effect.provide(Disk.layer)))

  const imported = await importCheckpoint(model, megatron)
  console.log(`imported ${imported.sourceTensors} tensors into ${imported.files.length} files`)

  const exported = await exportCheckpoint(model, megatron, join(work, "exported"))
  console.log(`exported ${exported.targetTensors} tensors into ${exported.files.map((f) => f.name).join(", ")}`)

  let largest = { name: "", size: 0 }
  for await (const { bytes, name } of streamHfWeights(model, megatron, { pieces: "whole" })) {
    if (bytes.byteLength > largest.size) largest = { name, size: bytes.byteLength }
  }
  console.log(`the largest tensor is ${largest.name} (${largest.size} bytes)`)

  const { equal, total } = await verifyCheckpoint(model, megatron)
  console.log(`${equal}/${total} equal`)
} finally {
  await rm(work, { recursive: true })
}
