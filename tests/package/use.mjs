// What a program sees that installed the package: its entries, by name.
import { exportCheckpoint, importCheckpoint, verifyCheckpoint } from "megatron-mimo-bridge"
import { family, tables } from "megatron-mimo-bridge/family"
import { parseHeader } from "megatron-mimo-bridge/safetensors"

const [hf, work] = process.argv.slice(2)
if (typeof parseHeader !== "function") throw new Error("no parseHeader")
if (typeof family !== "function" || !tables.attention) throw new Error("nothing to write a family with")
const model = { hfModel: hf, components: ["language=tp=2", "images=tp=1"] }
await importCheckpoint(model, `${work}/megatron-lib`)
const { equal, total } = await verifyCheckpoint(model, `${work}/megatron-lib`)
if (equal !== total || total === 0) throw new Error(`${equal} of ${total} equal`)
await exportCheckpoint(model, `${work}/megatron-lib`, `${work}/exported-lib`)
console.log(`library: ${equal}/${total} equal`)
