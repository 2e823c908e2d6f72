/**
 * `npm run bench:reshard [-- --layers 3 --repeats N --dir DIR --bin FILE]`: a training checkpoint (weights, masters and two moments of one rank) cut for
 * tp=4, pp=2 or pp=3 and back, beside `dd` of its data file past the page cache, in shuffled rounds of one run; medians, and each as a ratio to `dd`.
 * `--layers 3` is 10 GB. `--dir` keeps the checkpoint there.
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { crc32 } from "node:zlib"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import type { StoredObject, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { objectItem } from "../../src/torch/ObjectItem.ts"
import { PyFloat, type PyValue } from "../../src/torch/PyValue.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"
import { bytesBelow, makeCold, type Measured, measureOwn, measureShell, median, shuffled } from "./measure.ts"

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "3" },
    repeats: { type: "string", default: "5" },
    dir: { type: "string" },
    bin: { type: "string", default: join(import.meta.dirname, "../../dist/bin.js") }
  }
})
const layers = Number(values.layers)
const work = values.dir ?? mkdtempSync(join(tmpdir(), "bench-reshard-"))
const [run, cut, out] = ["run", "cut", "out"].map((name) => join(work, name)) as [string, string, string]

/** A dense model at the dimensions of 8 billion parameters, with as many layers as are asked for. */
const [hidden, ffn, rows, vocabulary] = [4096, 12288, 6144, 32768]
const model: ReadonlyArray<readonly [key: string, shape: ReadonlyArray<number>]> = [
  ["embedding.word_embeddings.weight", [vocabulary, hidden]],
  ["decoder.layers.self_attention.linear_qkv.layer_norm_weight", [layers, hidden]],
  ["decoder.layers.self_attention.linear_qkv.weight", [layers, rows, hidden]],
  ["decoder.layers.self_attention.linear_proj.weight", [layers, hidden, hidden]],
  ["decoder.layers.mlp.linear_fc1.layer_norm_weight", [layers, hidden]],
  ["decoder.layers.mlp.linear_fc1.weight", [layers, 2 * ffn, hidden]],
  ["decoder.layers.mlp.linear_fc2.weight", [layers, hidden, ffn]],
  ["decoder.final_layernorm.weight", [hidden]]
]

/** Random bytes, again and again from another place on: no disk compresses them. */
const noise = Buffer.from(Uint32Array.from({ length: 1 << 23 }, () => Math.random() * 2 ** 32).buffer)

const writeRun = (): void => {
  const folder = join(run, "iter_0000100")
  mkdirSync(folder, { recursive: true })
  const descriptor = openSync(join(folder, "__0_0.distcp"), "w")
  let size = 0
  const write = (bytes: Uint8Array): void => void (size += writeSync(descriptor, bytes))
  const object = (value: PyValue): StoredObject => {
    const offset = size
    write(objectItem(value))
    return { file: "__0_0.distcp", offset, length: size - offset }
  }
  const tensor = (dtype: "BF16" | "F32", shape: ReadonlyArray<number>): StoredTensor => {
    const [offset, item] = [size, tensorItem(dtype, shape)]
    write(item.prefix)
    let sum = 0
    for (let left = item.dataLength; left > 0;) {
      const from = Math.floor(Math.random() * (noise.length / 2))
      const part = noise.subarray(from, from + Math.min(left, noise.length / 2))
      sum = crc32(part, sum)
      write(part)
      left -= part.length
    }
    write(item.suffix(sum))
    return { dtype, shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, file: "__0_0.distcp", offset, length: size - offset }] }
  }
  const tensors = new Map<string, StoredTensor>()
  for (const [key, shape] of model) tensors.set(key, tensor("BF16", shape))
  for (const state of ["param", "exp_avg", "exp_avg_sq"]) for (const [key, shape] of model) tensors.set(`optimizer.state.${state}.${key}`, tensor("F32", shape))
  const groups = new Map<PyValue, PyValue>([["optimizer", new Map([["param_groups", [new Map<PyValue, PyValue>([["wd_mult", new PyFloat(1)], ["step", 100]])]]])], ["param_state_sharding_type", "fully_reshardable"]])
  const common = new Map<PyValue, PyValue>([["checkpoint_version", new PyFloat(3)], ["iteration", 100], ["optimizer", groups], ["content_metadata", new Map([["distrib_optim_sharding_type", "fully_reshardable"]])]])
  const objects = new Map([["common_state/shard_0_1", object(common)]])
  closeSync(descriptor)
  writeFileSync(join(folder, ".metadata"), encodeMetadata({ className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects }))
  writeFileSync(join(folder, "metadata.json"), '{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
  writeFileSync(join(run, "latest_checkpointed_iteration.txt"), "100")
}

if (!existsSync(run)) writeRun()
const reshard = (from: string, to: string, ...layout: ReadonlyArray<string>) => measureOwn(values.bin, ["reshard", from, to, ...layout, "--quiet"])
const pp = String(layers % 2 === 0 ? 2 : layers % 3 === 0 ? 3 : 1)
if (!existsSync(cut)) reshard(run, cut, "--tp", "4", "--pp", pp)
const DD = "dd"
const dd = (from: string) => () => measureShell(`mkdir '${out}'; for f in '${from}'/iter_0000100/*.distcp; do dd if="$f" of='${out}'/"$(basename "$f")" bs=8M iflag=direct oflag=direct status=none; done; sync '${out}'/* '${out}'`)
const steps: ReadonlyArray<{ readonly name: string; readonly reads: string; readonly run: () => Measured }> = [
  { name: DD, reads: run, run: dd(run) },
  { name: `tp=1 to tp=4,pp=${pp}`, reads: run, run: () => reshard(run, out, "--tp", "4", "--pp", pp) },
  { name: `tp=4,pp=${pp} to tp=1`, reads: cut, run: () => reshard(cut, out, "--tp", "1") }
]

const runs = new Map<string, Array<Measured>>(steps.map(({ name }) => [name, []]))
for (let round = 0; round < Number(values.repeats); round++) {
  for (const { name, reads, run: measure } of shuffled(steps)) {
    rmSync(out, { recursive: true, force: true })
    makeCold(reads)
    runs.get(name)!.push(measure())
    rmSync(out, { recursive: true, force: true })
  }
  process.stderr.write(`round ${round + 1} of ${values.repeats}\n`)
}

const base = median(runs.get(DD)!.map(({ wall }) => wall))
console.log(`${(bytesBelow(run) / 1e9).toFixed(1)} GB\n\n| step | wall s, median (least–most) | of dd | CPU s | peak MB |\n| --- | --- | ---: | ---: | ---: |`)
for (const [name, measured] of runs) {
  const [walls, of] = [measured.map(({ wall }) => wall), (field: "cpu" | "rss") => median(measured.map((m) => m[field]))]
  const spread = `${median(walls).toFixed(1)} (${Math.min(...walls).toFixed(1)}–${Math.max(...walls).toFixed(1)})`
  console.log(`| ${name} | ${spread} | ${(median(walls) / base).toFixed(2)} | ${of("cpu").toFixed(1)} | ${(of("rss") / 1e6).toFixed(0)} |`)
}
if (values.dir === undefined) rmSync(work, { recursive: true })
