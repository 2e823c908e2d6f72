/**
 * Import, export, verify, and a loop over the weights, with plain promises.
 *
 *   npm run example:promises
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { exportCheckpoint, importCheckpoint, modelLayout, streamHfWeights, verifyCheckpoint, writeSampleModel } from "megatron-mimo-bridge"

const work = await mkdtemp(join(tmpdir(), "pipeline-"))
// Ctrl-C stops the work; nothing is published, and temporary files go away.
const stop = new AbortController()
process.once("SIGINT", () => stop.abort(new Error("interrupted by the user")))
const { signal } = stop
try {
  const model = { hfModel: join(work, "hf"), components: ["language=tp=2", "images=tp=1"] }
  const megatron = join(work, "megatron")
  await writeSampleModel(model.hfModel, { model: "qwen3.5-vl" })

  const { worldSize } = await modelLayout(model)
  console.log(`trained on ${worldSize} ranks`)

  let told = 0
  const imported = await importCheckpoint(model, megatron, {
    signal,
    onProgress: ({ done, phase, total }) => {
      const tenth = Math.floor((10 * done) / total)
      if (tenth > told) console.log(`${phase}: ${tenth * 10} %`)
      told = tenth
    }
  })
  console.log(`imported ${imported.sourceTensors} tensors into ${imported.files.length} files`)

  const exported = await exportCheckpoint(model, megatron, join(work, "exported"), { signal })
  console.log(`exported ${exported.targetTensors} tensors into ${exported.files.map((f) => f.name).join(", ")}`)

  let largest = { name: "", size: 0 }
  for await (const { bytes, name } of streamHfWeights(model, megatron, { pieces: "whole", signal })) {
    if (bytes.byteLength > largest.size) largest = { name, size: bytes.byteLength }
  }
  console.log(`the largest tensor is ${largest.name} (${largest.size} bytes)`)

  const { equal, total } = await verifyCheckpoint(model, megatron, { signal })
  console.log(`${equal}/${total} equal`)
} finally {
  await rm(work, { recursive: true })
}
