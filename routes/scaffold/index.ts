/**
 * The text of a starter family file for an unknown model, in the style of the families here: its layers as the shared tables that
 * have their names, everything else as comments to decide. What is left undecided makes an import name the tensors.
 */
import type { NamePattern } from "../../src/recognise/patterns.ts"
import { quote, safeJson } from "../../src/quote.ts"
import { innerSection, type Section, sectionOf } from "../shared/languageSections.ts"
import { type Beside, besideOf, componentsText, modulesText, outerSection, moduleName, variableOf } from "./beside.ts"
import { BORDER, LayerReader, type LayerText, literal, type Source } from "./layer.ts"

export interface ScaffoldSource {
  readonly architecture: string
  /** config.json. */
  readonly config: unknown
  /** Of its tensors, numbers as `*`. */
  readonly patterns: ReadonlyArray<NamePattern>
  /** Whether the file will stand in `routes/` of this repository, or in a project that has the package. */
  readonly inRepository: boolean
}

const FILES: Readonly<Record<Source, string>> = {
  appendedMtp: "./shared/appendedMtp.ts",
  biases: "./shared/biases.ts",
  blocks: "./shared/blocks.ts",
  config: "./shared/config.ts",
  experts: "./shared/experts.ts",
  gpt: "../src/model/gpt.ts",
  kinds: "../src/bridge/kinds.ts",
  llama: "./shared/llama.ts",
  mla: "./shared/mla.ts",
  textLayout: "./shared/textLayout.ts",
  moe: "./shared/moe.ts",
  multimodal: "./shared/multimodal.ts",
  projectors: "./shared/projectors.ts"
}

/** The model's name without what every class has. */
const shortName = (architecture: string): string => architecture.replace(/(ForCausalLM|ForConditionalGeneration|LMHeadModel|Model)$/, "") || architecture

/** A name that may stand in code: an identifier. */
const camel = (architecture: string): string => {
  const name = shortName(architecture).replace(/\W/g, "")
  return /^[A-Za-z]/.test(name) ? name.charAt(0).toLowerCase() + name.slice(1) : `family${name}`
}

/** `SolarOpen` → `solar-open`. */
const kebab = (architecture: string): string => shortName(architecture).replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase()

/** In a comment of one line, or inside of one. */
const remark = (text: string): string => quote(text).replaceAll("*/", "* /")

/** Where the language model's layers stand: the most frequent place of numbered ones. */
const layerPrefix = (patterns: ReadonlyArray<NamePattern>): string => {
  const places = new Map<string, number>()
  for (const { pattern } of patterns) {
    const found = /^(.*?\blayers\.\*\.)/.exec(pattern)?.[1]
    if (found !== undefined && !/vision|visual|audio|encoder|tower/.test(found)) places.set(found, (places.get(found) ?? 0) + 1)
  }
  return [...places].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "model.layers.*."
}

/** The text section, and the way to it. */
const textSection = (config: unknown): { readonly section: Section; readonly path: ReadonlyArray<string> } => {
  let [section, path] = [sectionOf(config) ?? {}, [] as ReadonlyArray<string>]
  for (;;) {
    const inner = innerSection(section)
    if (inner === undefined) return { section, path }
    section = section[inner] as Section
    path = [...path, inner]
  }
}

interface Frame {
  readonly model: string
  readonly embedding: string
  /** Prefix of `lm_head`. */
  readonly head: string
  readonly hasHead: boolean
  readonly known: ReadonlySet<string>
}

/** What surrounds the layers. */
const frameOf = (patterns: ReadonlyArray<NamePattern>, prefix: string): Frame => {
  const names = new Set(patterns.map(({ pattern }) => pattern))
  const model = prefix.slice(0, -"layers.*.".length)
  const embedding = ["embed_tokens", "word_embeddings", "embeddings"].find((name) => names.has(`${model}${name}.weight`)) ?? "embed_tokens"
  const heads = [...names].filter((name) => /(^|\.)lm_head\.weight$/.test(name)).sort((a, b) => a.length - b.length)
  const head = heads[0]?.slice(0, -"lm_head.weight".length) ?? ""
  return { model, embedding, head, hasHead: heads.length > 0, known: new Set([`${model}${embedding}.weight`, `${model}norm.weight`, `${model}norm.bias`, `${head}lm_head.weight`, ...[...names].filter((name) => name.endsWith("rotary_emb.inv_freq"))]) }
}

const undecided = ({ count, looksLike, pattern, shape }: NamePattern, prefix: string): ReadonlyArray<string> => [
  `// ${looksLike}; ${count} × [${shape}]`,
  `${BORDER}// "<megatron name>": ${safeJson(pattern.slice(prefix.length))},${BORDER}`
]

const indented = (lines: ReadonlyArray<string>, by: number): string => lines.map((line) => `${" ".repeat(by)}${line}\n`).join("")
/** A slot with a line for each part. */
const parts = (name: string, all: ReadonlyArray<string>): string => `${name}: [\n${all.map((part) => `        ${part}`).join(",\n")}\n      ]`
const listed = (lines: ReadonlyArray<string>, by: number): string => indented(lines.map((line, i) => (i < lines.length - 1 ? `${line},` : line)), by)

/** Names that every such file uses. */
const usual = (layer: LayerText, frame: Frame, isText: boolean, { projectors, towers }: Beside): ReadonlyMap<Source, ReadonlyArray<string>> => {
  const needsGpt = layer.wideQkNorm || !isText
  return new Map<Source, ReadonlyArray<string>>([
    ["llama", ["commonOf", "extraOf", "transformerOf", ...(layer.hasExperts ? [] : ["denseFields"]), ...(isText ? [] : ["frameRows", "rotaryBuffers", "vocabularyOf"])]],
    ["config", [...layer.fields, ...towers.map(({ tower }) => tower.fields)].some((field) => field.includes("config.size")) ? ["size"] : []],
    ["moe", layer.hasExperts ? ["moeFields"] : []],
    ["experts", layer.hasExperts && layer.appendedMtp === undefined ? ["expertLayout"] : []],
    ["textLayout", layer.appendedMtp === undefined ? [] : ["textLayout"]],
    ["multimodal", towers.length > 0 ? ["languageAnd", "mirrored"] : []],
    ["projectors", projectors.map(({ kind }) => `${kind}Projector`)],
    ["gpt", [...(needsGpt ? ["gpt"] : []), ...(layer.wideQkNorm || (!isText && layer.norms !== "before") ? ["transformerLayer"] : [])]]
  ])
}

const QUALIFIED = /\b(appendedMtp|biases|blocks|config|experts|gpt|kinds|llama|mla|moe|multimodal|projectors|textLayout|towers)\.([A-Za-z]\w*)/g

/** Qualified names (`moe.router`) as the file's imports have them. */
const resolved = (text: string, inRepository: boolean): string =>
  text.split(BORDER).map((part, i) => i % 2 === 1 ? part : part.replaceAll(QUALIFIED, (_, source: Source | "towers", name: string) => inRepository ? name : source === "blocks" ? `tables.${name}` : source === "towers" ? `towers.${name}` : name)).join("")

const imports = (layer: LayerText, frame: Frame, isText: boolean, inRepository: boolean, beside: Beside): string => {
  const all = new Map<string, Set<string>>()
  const add = (file: string, names: Iterable<string>) => { for (const name of names) all.set(file, (all.get(file) ?? new Set()).add(name)) }
  for (const uses of [layer.uses, usual(layer, frame, isText, beside)]) for (const [source, names] of uses) add(FILES[source], names)
  add("../src/bridge/Family.ts", ["family"])
  add("./shared/provider.ts", ["gptProvider"])
  add("./shared/textModel.ts", ["GPT", ...(isText ? ["textModel"] : [])])
  for (const { tower } of beside.towers) add(`./shared/towers/${tower.file}.ts`, tower.imports)
  if (!isText || layer.appendedMtp !== undefined) add("../src/bridge/Registry.ts", isText ? [] : ["rows"])
  const sorted = (names: Iterable<string>) => [...names].sort((a, b) => a.toLowerCase() < b.toLowerCase() ? -1 : 1).join(", ")
  if (!inRepository) {
    const names = [...all].flatMap(([file, own]) => (file === FILES.blocks ? ["tables"] : file.startsWith("./shared/towers/") ? ["towers"] : [...own]))
    return `import {\n  ${sorted(new Set(names)).replaceAll(/(.{100,140}?, )/g, "$1\n  ").replaceAll(/ +\n/g, "\n")}\n} from "megatron-mimo-bridge/family"\nimport { z } from "zod"\n`
  }
  const lines = [...all].filter(([, names]) => names.size > 0).sort(([a], [b]) => (a < b ? -1 : 1)).map(([file, names]) => `import { ${sorted(names)} } from "${file}"\n`)
  return `import { z } from "zod"\n${lines.join("")}`
}

/** `{ text_config: … }` around the schema of the section, those of the towers beside it. */
const schemaOf = (fields: string, path: ReadonlyArray<string>, { towers }: Beside): string =>
  path.reduceRight((inner, name, i) => `z.looseObject({ ${[`${name}: ${inner}`, ...(i === path.length - 1 ? towers.map(({ section, tower }) => `${section}: ${tower.fields}`) : [])].join(", ")} })`, fields)

/** What `describe` is given, down to `t` and the sections of the towers. */
const parameterOf = (path: ReadonlyArray<string>, { towers }: Beside): string =>
  path.reduceRight((inner, name, i) => `{ ${[`${name}: ${inner}`, ...(i === path.length - 1 ? towers.map((found) => `${found.section}: ${variableOf(found)}`) : [])].join(", ")} }`, "t")

export const scaffold = ({ architecture, config, inRepository, patterns }: ScaffoldSource): string => {
  const { path, section } = textSection(config)
  const prefix = layerPrefix(patterns)
  const inLayer = patterns.filter(({ pattern }) => pattern.startsWith(prefix))
  const layer = new LayerReader({ shapes: new Map(inLayer.map(({ pattern, shape }) => [pattern.slice(prefix.length), shape])), config: section }).read()
  const frame = frameOf(patterns, prefix)
  const more = besideOf(config, path, patterns)
  const has = more.towers.length > 0
  const isText = frame.model === "model." && frame.head === "" && !has
  const open = inLayer.filter(({ pattern }) => !layer.known.has(pattern.slice(prefix.length)) && !frame.known.has(pattern))
  const placed = [...more.towers, ...more.projectors].map((part) => part.prefix)
  const beside = patterns.filter(({ pattern }) => !pattern.startsWith(prefix) && !frame.known.has(pattern) && !placed.some((own) => pattern.startsWith(own)))
  const mtp = layer.appendedMtp !== undefined
  const text = path.map((name) => `.${name}`).join("")
  const below = isText ? "" : `, ${literal(frame.model)}`
  // What the tensors show, and what of it `describe` takes.
  const [layout, taken] = mtp
    ? [path.length === 0 && isText ? "textLayout.textLayout" : `(c, headers) => textLayout.textLayout(c${text}, headers${below})`, layer.hasExperts ? "{ experts: lying, modules }" : "{ modules }"]
    : layer.hasExperts ? [`(_, headers) => experts.expertLayout(headers${below})`, "lying"] : []
  const tied = frame.hasHead ? [] : ["share_embeddings_and_output_weights: t.tie_word_embeddings ?? true"]
  const change = [...(layer.biases === undefined ? [] : ["...biases.biasFields(biases)"]), ...layer.config, ...tied]
  const fields = [layer.hasExperts ? "...moe.moeFields" : "...llama.denseFields", ...layer.fields]
  const table = layer.biases === undefined ? "{" : "biases.withZeroBiases({"
  const names = [...(has ? ["megatron: \"language_model.\""] : []), ...(frame.embedding === "embed_tokens" ? [] : [`embedding: ${literal(frame.embedding)}`]), ...(frame.head === "" ? [] : [`head: ${literal(frame.head)}`]), ...(frame.model === "model." ? [] : [`model: ${literal(frame.model)}`])]
  const norms = layer.norms === "before" ? "" : `, norms: "${layer.norms}"`
  const isOwnLayer = layer.wideQkNorm || (!isText && norms !== "")
  const build = isOwnLayer
    ? `(s) => gpt.gpt(s, tc, { layer: (layer) => gpt.transformerLayer(layer, tc, { linearAttention: false, moe: ${layer.hasExperts} }, { ${[...(layer.wideQkNorm ? ["qkNorm: \"replicated\""] : []), ...(norms === "" ? [] : [norms.slice(2)])].join(", ")} }) })`
    : "(s) => gpt.gpt(s, tc)"
  const slots = isText
    ? [
      "tc",
      "table",
      ...(mtp ? ["rows: mtp.rows", "carried: mtp.carried", "mtpFields: [\"num_nextn_predict_layers\"]"] : []),
      ...names,
      ...(isOwnLayer ? [`build: ${build}`] : norms === "" ? [] : [`norms: "${layer.norms}"`]),
      "provider",
      ...(layer.biases === undefined ? [] : ["...biases.zeroBiases(biases)"])
    ]
    : [
      ...(has
        ? [
          parts("modules", [...modulesText(more, section, outerSection(config, path)), `{ kind: "language", path: "language_model", config: tc, build: ${build} }`]),
          `components: ${componentsText(more)}`
        ]
        : [`modules: [{ kind: "language", path: "", config: tc, build: ${build} }]`]),
      parts("rows", [
        ...[...more.towers, ...more.projectors].map((part) => `...multimodal.mirrored(${literal(`${moduleName(part.prefix)}.`)}, ${literal(part.prefix)})`),
        ...(mtp ? ["...mtp.rows"] : []),
        `...llama.frameRows({ ${names.join(", ")} })`,
        `...rows("${has ? "language_model." : ""}decoder.layers.*.", ${literal(prefix)}, table)`
      ]),
      "provider",
      `carried: [...llama.rotaryBuffers(${literal(frame.model)})${mtp ? ", ...mtp.carried" : ""}]`,
      `vocabulary: llama.vocabularyOf(tc, { ${names.join(", ")} })`,
      ...(mtp ? [`mtpFields: [${literal([...path, "num_nextn_predict_layers"].join("."))}]`] : []),
      ...(layer.biases === undefined ? [] : ["...biases.zeroBiases(biases)"])
    ]
  const appended = mtp
    ? [
      "const mtp = appendedMtp.appendedMtp({",
      ...["layers: t.num_hidden_layers", "modules", "table", `finalNorm: ${literal(layer.appendedMtp)}`, "tied: tc.share_embeddings_and_output_weights", ...(has ? ["megatron: \"language_model.\""] : []), ...(frame.model === "model." ? [] : [`model: ${literal(frame.model)}`]), ...(frame.head === "" ? [] : [`mainHead: ${literal(`${frame.head}lm_head.weight`)}`])].map((line, i, all) => `  ${line}${i < all.length - 1 ? "," : ""}`),
      "})"
    ]
    : []
  const family = `export const ${camel(architecture)} = family({
  name: ${literal(kebab(architecture))},
  architectures: [${literal(architecture)}],
  config: ${schemaOf(`z.looseObject({ ${fields.join(", ")} })`, path, more)},
${layout === undefined ? "" : `  layout: ${layout},\n`}  describe: (${parameterOf(path, more)}${taken === undefined ? "" : `, ${taken}`}) => {
${layer.biases === undefined ? "" : `    const biases = ${layer.biases}\n`}    const tc = llama.transformerOf(t${change.length === 0 ? ")" : `, {\n${listed(change, 6)}    })`}
    const table = ${table}
${listed(layer.table, 6)}${indented(open.flatMap((p) => undecided(p, prefix)), 6)}    }${layer.biases === undefined ? "" : ", biases)"}
${indented(appended, 4)}    // Compare with how the trainer's own import fills the class.
    const provider = gptProvider(GPT, tc, llama.commonOf(t), { ...llama.extraOf(t)${layer.provider.map((line) => `, ${line}`).join("")} })
${layer.wideQkNorm ? "    // The norms of queries and keys span all heads: \"replicated\", or \"cut\" where the trainer cuts them.\n" : ""}    return ${isText ? "textModel(" : ""}{
${listed(slots, 6)}    }${isText ? ")" : ""}
  }
})
`
  const decisions = beside.length === 0 ? "" : `\n// Tensors outside of the language model's layers: give each a module and a row, or carry it.\n${indented(beside.flatMap((p) => undecided(p, "")), 0)}`
  const where = inRepository ? "list the family in routes/index.ts" : "name the file with --family"
  return `/**
 * ${remark(architecture)}, begun by \`scaffold\` from the names of its tensors: read every line, decide what is a comment, then
 * ${where} (docs/adding-a-family.md).
 */
${imports(layer, frame, isText, inRepository, more)}
${resolved(family + decisions, inRepository)}`
}
