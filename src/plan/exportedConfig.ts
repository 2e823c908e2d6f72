/** The config.json of an export: the original's, byte for byte, unless a field must change; then in the form Python writes. */
import type { ConfigField } from "../bridge/Family.ts"
import { pythonJson } from "../document/PythonJson.ts"
import { type JsonMap, type JsonTree, parseJson, parseJsonTree } from "../document/StrictJson.ts"
import { PlanRefused, quote } from "../errors.ts"
import { quantizationPaths } from "../quantized/QuantizationConfig.ts"
import { folderOf, configSectionOf } from "../space/Assembly.ts"
import { CONFIG, type HfConfig } from "../space/HfSource.ts"
import { type DType, isInteger } from "../tensor/DType.ts"
import type { TorchDtype } from "./Options.ts"

/** What `quantization_config` says of an export: what it said; nothing, for no tensor is quantised; that some modules are not. */
export type Quantization = "keep" | "remove" | { readonly except: ReadonlyArray<string> }

export interface ConfigEdits {
  readonly fields: ReadonlyArray<ConfigField>
  readonly torchDtype: TorchDtype
  readonly quantization: Quantization
  /** Rows of the exported vocabulary, if the user chose them. */
  readonly vocabSize?: number
}

const DTYPE_FIELDS = ["dtype", "torch_dtype"]

/** Where quantisers list the modules they leave alone: compressed-tensors, some FP8 checkpoints, transformers. */
const EXCEPTIONS = ["ignore", "ignored_layers", "modules_to_not_convert"]

/** Where a config says how many tokens its language model has: at the top or in the section of that model. */
const VOCABULARY: ReadonlyArray<ReadonlyArray<string>> = [[], ["text_config"], ["llm_config"], ["language_config"], ["thinker_config"], ["thinker_config", "text_config"]]

const isMap = (tree: JsonTree | undefined): tree is JsonMap => tree instanceof Map

/** The tree with the value at `path` replaced; `undefined` removes it. The same tree if nothing changes or nothing is there. */
const edit = (node: JsonTree, path: ReadonlyArray<string>, change: (before: JsonTree) => JsonTree | undefined): JsonTree => {
  const [head, ...tail] = path
  if (!isMap(node) || head === undefined || !node.has(head)) return node
  const before = node.get(head)!
  const after = tail.length === 0 ? change(before) : edit(before, tail, change)
  if (after === before) return node
  const copy = new Map(node)
  if (after === undefined) copy.delete(head)
  else copy.set(head, after)
  return copy
}

/** The dtype fields of a config that name one, in every section of a model. */
const dtypePaths = (node: JsonMap): ReadonlyArray<ReadonlyArray<string>> =>
  [...node].flatMap(([key, value]) =>
    DTYPE_FIELDS.includes(key) && typeof value === "string" ? [[key]]
    : isMap(value) && key.endsWith("_config") && key !== "quantization_config" ? dtypePaths(value).map((path) => [key, ...path])
    : [])

const TORCH_NAMES: Partial<Record<DType, Exclude<TorchDtype, "source">>> = { BF16: "bfloat16", F16: "float16", F32: "float32" }

/**
 * What config.json says that the weights are: the dtype that was asked for; else the one that all of them have, if they have one in
 * common, for transformers casts weights to what config.json says. `source`: config.json stays.
 */
export const writtenDtype = (config: HfConfig, asked: TorchDtype, tensors: Iterable<{ readonly dtype: DType }>): { readonly dtype: TorchDtype; readonly notes: ReadonlyArray<string> } => {
  if (asked !== "source") return { dtype: asked, notes: [] }
  const [only, ...more] = new Set(Iterator.from(tensors).map(({ dtype }) => dtype).filter((dtype) => !isInteger(dtype)))
  const dtype = only === undefined || more.length > 0 ? undefined : TORCH_NAMES[only]
  const tree = treeOf(config)
  if (dtype === undefined || !isMap(tree)) return { dtype: "source", notes: [] }
  const said = new Set(dtypePaths(tree).map((path) => path.reduce<JsonTree | undefined>((node, key) => (isMap(node) ? node.get(key) : undefined), tree)))
  const others = [...said].filter((name) => name !== dtype)
  if (others.length === 0) return { dtype: "source", notes: [] }
  return { dtype, notes: [`config.json of --hf-model says ${others.map((name) => quote(String(name))).join(", ")}; all weights are ${dtype}, and so the exported one says ${dtype}`] }
}

const withExceptions = (modules: ReadonlyArray<string>) => (config: JsonTree): JsonTree => {
  if (!isMap(config)) return config
  const field = EXCEPTIONS.find((name) => config.has(name)) ?? (config.get("quant_method") === "compressed-tensors" ? "ignore" : "modules_to_not_convert")
  const listed = config.get(field)
  return new Map(config).set(field, [...(Array.isArray(listed) ? listed : []), ...modules])
}

const withRows = (tree: JsonTree, rows: number): JsonTree =>
  VOCABULARY.reduce((edited, section) => edit(edited, [...section, "vocab_size"], () => rows), tree)

const treeOf = (config: HfConfig): JsonTree => parseJsonTree(config.bytes, { allowNonFinite: true, keepFloats: true })

const printed = (tree: JsonTree): Uint8Array => {
  if (!isMap(tree)) throw new PlanRefused({ code: "config/not-an-object", problem: "config.json is not an object" })
  return Buffer.from(`${pythonJson(tree)}\n`)
}

/** A config whose vocabulary has `rows` tokens: what the model is described by, if the user says so. */
export const withVocabulary = (config: HfConfig, rows: number): HfConfig => ({
  ...config,
  json: parseJson(printed(withRows(treeOf(config), rows)), { allowNonFinite: true })
})

export const exportedConfig = (config: HfConfig, { quantization, torchDtype, vocabSize, fields }: ConfigEdits): Uint8Array => {
  const original = treeOf(config)
  let tree = vocabSize === undefined ? original : withRows(original, vocabSize)
  for (const { add, path, value } of fields) {
    if (add && isMap(tree) && !tree.has(path)) tree = new Map(tree).set(path, value)
    else tree = edit(tree, path.split("."), () => value)
  }
  if (torchDtype !== "source" && isMap(tree)) {
    for (const path of dtypePaths(tree)) tree = edit(tree, path, () => torchDtype)
  }
  if (quantization !== "keep") {
    const change = quantization === "remove" ? () => undefined : withExceptions(quantization.except)
    for (const path of quantizationPaths(config.json)) tree = edit(tree, path, change)
  }
  return tree === original ? config.bytes : printed(tree)
}

/** The config.json of every part of an assembled model, in its folder: as it was, unless a field of it changed. `bytes`: of the whole's. */
export const partConfigs = ({ parts = [] }: HfConfig, bytes: Uint8Array): ReadonlyArray<{ readonly name: string; readonly bytes: Uint8Array }> => {
  const whole = parseJsonTree(bytes, { allowNonFinite: true, keepFloats: true })
  return parts.map(({ config, part }) => {
    const own = isMap(whole) ? whole.get(configSectionOf(part)) : undefined
    const fields = isMap(own) ? new Map([...own].filter(([name]) => part.settings?.[name] === undefined)) : new Map()
    const same = JSON.stringify(parseJson(printed(fields), { allowNonFinite: true })) === JSON.stringify(config.json)
    return { name: `${folderOf(part)}/${CONFIG}`, bytes: same ? config.bytes : printed(fields) }
  })
}
