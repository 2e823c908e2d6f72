/** Fuzz targets: documents that are read as JSON or YAML and what is made of them. */
import { families } from "../../routes/index.ts"
import { decodeChecksums } from "../../src/publish/integrity/Checksums.ts"
import { exportedConfig } from "../../src/plan/exportedConfig.ts"
import { describeModel } from "../../src/space/describeModel.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { contentOf, type Fingerprint } from "../../src/publish/journal/Fingerprint.ts"
import { Journal, readJournal } from "../../src/publish/journal/Journal.ts"
import { atPath } from "../../src/document/decode.ts"
import { parseJson } from "../../src/document/StrictJson.ts"
import { architectureOf } from "../../src/bridge/FamilyRegistry.ts"
import { examineRunConfig } from "../../src/doctor/runConfigCheck.ts"
import { modelFacts } from "../../src/inspect/modelFacts.ts"
import { parseRunConfig } from "../../src/runconfig/RunConfigFile.ts"
import { createFolder } from "../../src/publish/staging/folder.ts"
import { holderOf, Lock } from "../../src/publish/staging/Lock.ts"
import { COMMIT, DATA, stagingOf } from "../../src/publish/staging/names.ts"
import { recover } from "../../src/publish/staging/swap.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { quantizationConfig } from "../../src/quantized/QuantizationConfig.ts"
import { RunConfigEdit } from "../../src/runconfig/RunConfigEdit.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { type Toy, toys } from "../families/toys.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"
import { mutateBytes, mutateTree, print, type Tree } from "./mutate.ts"
import type { Random } from "./Random.ts"
import { type Target, Wrong } from "./Target.ts"

const hex = (text: string | Uint8Array): string => crc32(text).toString(16).padStart(8, "0")

/** Printed with some of it changed; now and then not even JSON. */
const changed = (tree: Tree, r: Random, words: ReadonlyArray<string> = []): Buffer => {
  const text = Buffer.from(print(mutateTree(tree, r, words)))
  return r.chance(5) ? mutateBytes(text, r) : text
}

const QUANTIZATIONS: ReadonlyArray<Tree> = [
  { quant_method: "fp8", activation_scheme: "dynamic", weight_block_size: [128, 128], modules_to_not_convert: ["lm_head"] },
  { quant_method: "fp8", activation_scheme: "static", ignored_layers: null },
  { quant_method: "mxfp4", modules_to_not_convert: ["model.layers.*.self_attn"] },
  {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    config_groups: { group_0: { targets: ["Linear"], weights: { num_bits: 4, group_size: 32, strategy: "group", symmetric: true } } },
    ignore: ["lm_head", "re:.*self_attn.*"]
  },
  { quant_method: "gptq", bits: 4, group_size: 128, desc_act: true, sym: true },
  { quant_method: "bitsandbytes", load_in_4bit: true, bnb_4bit_quant_type: "nf4" }
]

const treeOf = (toy: Toy): { [key: string]: Tree } => JSON.parse(toy.configText.replaceAll(/\b(NaN|-?Infinity)\b/g, "null")) as { [key: string]: Tree }
const small = toys.filter((toy) => toy.tensors.length < 150)

/** A config.json, often with a quantization_config at the top or in a section. */
const configFile = (r: Random): Uint8Array => {
  const tree = treeOf(r.pick(small))
  const section = r.chance(2) ? tree : tree["text_config"] ?? tree
  if (r.chance(2) && typeof section === "object" && section !== null) (section as { [key: string]: Tree })["quantization_config"] = r.pick(QUANTIZATIONS)
  return changed(tree, r, ["quantization_config", "weight_block_size", "architectures", "text_config", "torch_dtype", "dtype", "ignore", "model_type"])
}

/** The way a config.json is opened. */
const readConfig = (bytes: Uint8Array): void => {
  const path = "config.json"
  const json = atPath(path, () => parseJson(bytes, { allowNonFinite: true }))
  const config = { directory: ".", path, bytes, json, architecture: atPath(path, () => architectureOf(json)) }
  const quantization = quantizationConfig(json)
  if (!quantization.blockSize.every((n) => Number.isSafeInteger(n) && n > 0)) throw new Wrong(`blocks of ${quantization.blockSize}`)
  for (const change of ["keep", "remove", { except: ["lm_head"] }] as const) {
    const edited = exportedConfig(config, { fields: [{ path: "text_config.mtp_num_hidden_layers", value: 0 }], torchDtype: "float16", quantization: change })
    parseJson(edited, { allowNonFinite: true })
  }
  describeModel(families.find(json), config, noHeaders)
}

const CHECKSUMS: Tree = {
  version: 1,
  block: 1048576,
  source: "d41d8cd9",
  files: [{ name: "__0_0.distcp", size: 2097153, crc32: "00c0ffee", blocks: "000000000badcafe00c0ffee" }, { name: ".metadata", size: 3, crc32: "00c0ffee", blocks: "00c0ffee" }],
  tensors: [{ name: "decoder.weight", file: "__0_0.distcp", begin: 64, end: 96, crc32: "00c0ffee" }],
  parent: [{ name: "latest_checkpointed_iteration.txt", size: 1, crc32: "00c0ffee", blocks: "00c0ffee" }]
}

/** Mostly with the checksum that belongs to it, so that what follows is reached. */
const checksums = (r: Random): Uint8Array => {
  const body = changed(CHECKSUMS, r)
  const file = Buffer.concat([Buffer.from(`{"crc32":"${hex(body)}","checksums":`), body, Buffer.from("}\n")])
  return r.chance(10) ? mutateBytes(file, r) : file
}

const JOB: Fingerprint = { ingredients: [{ what: "config.json", content: "aa" }, { what: "shard", content: "bb", file: "3 bytes, inode 5" }] }

const journal = (r: Random): Uint8Array => {
  const lines: Array<Tree> = [{ journal: 1, block: 65536, job: JOB as unknown as Tree }]
  for (let i = r.few(6); i > 0; i--) lines.push(["__0_0.distcp", 65536 * i, 65536, 12345, [0, 1]])
  const file = Buffer.concat(lines.flatMap((tree) => {
    const text = r.chance(3) ? changed(tree, r) : Buffer.from(print(tree))
    return [Buffer.from(`${hex(text)} `), text, Buffer.from("\n")]
  }))
  return r.chance(3) ? mutateBytes(file, r) : file
}

const OWNER: Tree = { pid: 4194304, thread: 0, host: "elsewhere", boot: "", namespace: "", start: "1", since: "2026-01-01T00:00:00.000Z", nonce: "n" }

/** A file system in which `bytes` is all there is of the staging folder of `/out`, but for its data. */
const stagingWith = async (name: string, bytes: Uint8Array): Promise<MemoryFileSystem["calls"]> => {
  const { calls } = new MemoryFileSystem()
  const folder = stagingOf("/out")
  await createFolder(calls, folder)
  await calls.makeDirectory(`${folder}/${DATA}`)
  const file = await calls.open(`${folder}/${name}`, "create")
  await file.write(bytes, 0)
  await file.close()
  return calls
}

const YAML = `model:
  _target_: megatron.bridge.models.megatron_mimo.megatron_mimo_provider.MegatronMIMOProvider
  standard_provider:
    _target_: megatron.bridge.models.gpt_provider.GPTModelProvider
    num_layers: 2
    layernorm_epsilon: 1.0e-06
    mtp_num_layers: 1
    tensor_model_parallel_size: 1
  megatron_mimo_parallelism_config:
    module_parallelisms:
      language: {tensor_model_parallel_size: 2}
checkpoint:
  save: /x
`
const YAML_PARTS = ["_target_: ", "&a ", "*a", "<<: *a\n", "!!python/name:os.system ", "null", "~", "1e400", "[1, 2]", "{a: b}", "  ", "\n", "? ", "- ", "model: 1\n", "2", "99999999999999999999", "'", "# ", "|-\n"]

const runConfig = (r: Random): Uint8Array => {
  let text = YAML
  for (let times = r.few(6); times > 0; times--) {
    const lines = text.split("\n")
    const at = r.below(text.length + 1)
    switch (r.below(4)) {
      case 0: text = text.slice(0, at) + r.pick(YAML_PARTS) + text.slice(at); break
      case 1: lines.splice(r.below(lines.length), 1); text = lines.join("\n"); break
      case 2: lines.splice(r.below(lines.length), 0, r.pick(lines)); text = lines.join("\n"); break
      default: text = text.replace(/: \S+\n/, () => `: ${r.pick(YAML_PARTS)}\n`)
    }
  }
  return r.chance(5) ? mutateBytes(Buffer.from(text), r) : Buffer.from(text)
}

const LAYOUT = resolveLayout([], ["language", "images"]).components

/** Everything that is done with a run_config.yaml. */
const readRunConfig = (bytes: Uint8Array): void => {
  const config = parseRunConfig(bytes)
  modelFacts({ runConfig: config })
  examineRunConfig(config, "run_config.yaml", Buffer.from(bytes).toString(), ["megatron.bridge.models.gpt_provider.GPTModelProvider"])
  const edits: ReadonlyArray<(edit: RunConfigEdit) => void> = [(e) => e.toMimo(LAYOUT), (e) => e.toStandard(1), (e) => e.toHybrid("*-"), (e) => e.toGpt()]
  for (const change of edits) {
    const edit = new RunConfigEdit(bytes)
    try {
      change(edit)
    } catch (error) {
      if (error instanceof Error && error.name === "FormatError") continue
      throw error
    }
    parseRunConfig(Buffer.from(edit.toString()))
  }
}

export const documents: ReadonlyArray<Target> = [
  { name: "config-file", make: configFile, read: readConfig, few: 60 },
  { name: "run-config-edit", make: runConfig, read: readRunConfig, few: 100 },
  { name: "checksums", make: checksums, read: (b) => void decodeChecksums(".checksums.json", b) },
  {
    name: "journal",
    make: journal,
    read: async (b) => {
      const calls = await stagingWith("journal", b)
      const path = `${stagingOf("/out")}/journal`
      const found = await readJournal(calls, path)
      if (!found) return
      contentOf(found.job)
      if (!Number.isSafeInteger(found.bytes)) throw new Wrong(`${found.bytes} bytes of work`)
      found.find("__0_0.distcp", 65536)
      const appended = await Journal.append(calls, path)
      appended.add("__0_0.distcp", { position: 0, size: 1, crc32: 7, changed: [] })
      await appended.close()
      const again = await readJournal(calls, path)
      if (again?.find("__0_0.distcp", 0)?.crc32 !== 7) throw new Wrong("a line that was appended to a damaged journal is lost")
    }
  },
  {
    name: "lock",
    make: (r) => Buffer.concat([changed(OWNER, r), Buffer.from("\n000000000007\n")]),
    read: async (b) => {
      const calls = await stagingWith("lock.3", b)
      await holderOf(calls, stagingOf("/out"))
      await (await Lock.acquire(calls, stagingOf("/out"), "/out")).release()
    }
  },
  {
    name: "commit",
    make: (r) => changed({ ino: r.below(10), former: { ino: r.below(10), top: "ab" } }, r),
    read: async (b) => void await recover(await stagingWith(COMMIT, b), "/out")
  }
]
