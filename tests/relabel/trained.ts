/**
 * Turns a converted MIMO checkpoint into what a trainer would have saved, by the rules of torch-dist-format.md: DDP's `module.`
 * behind each component (F.1), model-space optimizer states under the model's keys with its boxes, RNG states per module, a
 * richer common state (D.5, A.3), a later step.
 */
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { volume } from "../../src/tensor/Copy.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { decodeMetadata, type DcpMetadata, type StoredChunk, type StoredObject, type StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { commonFile, objectItem } from "../../src/torch/ObjectItem.ts"
import { PyFloat, type PyValue } from "../../src/torch/PyValue.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"
import { trainStateFile, untrained } from "../../src/torch/TrainState.ts"

const STEP = 10
const FOLDER = "iter_0000010"
/** Not a name that the importer uses. */
const STATE_FILE = "__0_7.distcp"
const STATES = ["exp_avg", "exp_avg_sq", "fp32_param"]

/** DDP wraps every component of a MIMO model. */
export const wrapped = (key: string): string => key.replace(/^(language_model|modality_submodules\.[^.]+)\./, "$1.module.")

const common: ReadonlyMap<PyValue, PyValue> = new Map<PyValue, PyValue>([
  ["checkpoint_version", new PyFloat(3)],
  ["iteration", STEP],
  ["optimizer", new Map<PyValue, PyValue>([["param_groups", [new Map<PyValue, PyValue>([["lr", new PyFloat(1e-5)], ["step", STEP]])]], ["param_state_sharding_type", "fully_reshardable"]])],
  ["opt_param_scheduler", new Map<PyValue, PyValue>([["max_lr", new PyFloat(1e-5)], ["num_steps", STEP]])],
  ["content_metadata", new Map<PyValue, PyValue>([["distrib_optim_sharding_type", "fully_reshardable"], ["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]])]
])

/** `source`: a parent directory with `iter_0000000`; `target` must not exist. */
export const makeTrained = (source: string, target: string): void => {
  cpSync(source, target, { recursive: true })
  renameSync(join(target, "iter_0000000"), join(target, FOLDER))
  const directory = join(target, FOLDER)
  rmSync(join(directory, ".checksums.json"), { force: true })
  const clean = decodeMetadata(readFileSync(join(directory, ".metadata")))
  const pieces: Array<Uint8Array> = []
  let size = 0
  const append = (bytes: Uint8Array): StoredObject => {
    pieces.push(bytes)
    size += bytes.byteLength
    return { file: STATE_FILE, offset: size - bytes.byteLength, length: bytes.byteLength }
  }
  const stateItem = (sizes: ReadonlyArray<number>, seed: number): StoredObject => {
    const item = tensorItem("F32", sizes)
    const data = new Uint8Array(Float32Array.from({ length: volume(sizes) }, (_, i) => ((i * 31 + seed) % 97) / 97).buffer)
    return append(Buffer.concat([item.prefix, data, item.suffix(crc32(data))]))
  }
  const tensors = new Map<string, StoredTensor>()
  for (const [key, tensor] of clean.tensors) tensors.set(key.startsWith("hf_source.") ? key : wrapped(key), tensor)
  for (const [n, state] of STATES.entries()) {
    for (const [key, tensor] of clean.tensors) {
      if (key.startsWith("hf_source.")) continue
      const chunks = tensor.chunks.map((c, i): StoredChunk => ({ offsets: c.offsets, sizes: c.sizes, ...stateItem(c.sizes, 7 * n + i) }))
      tensors.set(`optimizer.state.${state}.${wrapped(key)}`, { dtype: "F32", shape: tensor.shape, chunks })
    }
  }
  const objects = new Map<string, StoredObject>()
  for (const [key, object] of clean.objects) objects.set(wrapped(key), object)
  objects.set("common_state/shard_0_1", append(objectItem(common)))
  for (const module of ["language", "images"]) objects.set(`rng_state.${module}/shard_0.0_1.1`, append(objectItem([new Map<PyValue, PyValue>([["random_rng_state", 3]])])))
  const metadata: DcpMetadata = { className: clean.className, tensors, objects }
  writeFileSync(join(directory, ".metadata"), encodeMetadata(metadata))
  writeFileSync(join(directory, STATE_FILE), Buffer.concat(pieces))
  writeFileSync(join(directory, "common.pt"), commonFile(common))
  const trainState = trainStateFile({ ...untrained(STEP), consumedTrainSamples: 640, doTrain: true })
  writeFileSync(join(directory, "train_state.pt"), trainState)
  writeFileSync(join(target, "latest_train_state.pt"), trainState)
  writeFileSync(join(target, "latest_checkpointed_iteration.txt"), String(STEP))
}
