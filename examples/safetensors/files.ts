import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openSafetensors, readTensor, writeSafetensors } from "megatron-mimo-bridge/safetensors/node"

const folder = await mkdtemp(join(tmpdir(), "safetensors-"))
const path = join(folder, "model.safetensors")
const bias = Float32Array.of(0.5, 1, 2)
await writeSafetensors(path, [{ name: "bias", dtype: "F32", shape: [3], data: new Uint8Array(bias.buffer) }])

const model = await openSafetensors(path)
for (const { dtype, name, shape } of model.tensors.values()) console.log(name, dtype, shape)

const bytes = await readTensor(model, "bias")
console.log(new DataView(bytes.buffer, bytes.byteOffset).getFloat32(8, true))
await rm(folder, { recursive: true })
