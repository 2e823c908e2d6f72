/** Unusual, and sound: every one of these is accepted, and every tensor survives to the bit. */
import type { GoodCase } from "./Case.ts"
import { link, type Node } from "./FileSet.ts"
import { filesOf, type Hf, type Json, sharded, shardName, type Shard, single, SINGLE, withShard, withTensor, withTensors } from "./Hf.ts"
import { architectures, type Architecture, type Config, configOf, dataOf, tensorsOf, type ToyTensor } from "./Toy.ts"

const good = (id: string, i: number, make: (architecture: Architecture) => Hf, more: Partial<GoodCase> = {}): GoodCase => ({
  id,
  files: () => filesOf(make(architectures[i % 3]!)),
  ...more
})

const table = (group: string, cases: Readonly<Record<string, (architecture: Architecture) => Hf>>): ReadonlyArray<GoodCase> =>
  Object.entries(cases).map(([id, make], i) => good(`${group}/${id}`, i, make))

const shard = (change: Partial<Shard>) => (a: Architecture): Hf => withShard(single(a), change)
const text = (change: (header: string) => string | Uint8Array) => shard({ text: change })
const HEAD = "lm_head.weight"
const NORM = "model.norm.weight"

const headers = table("header", {
  "trailing-spaces": text((h) => `${h}      `),
  "trailing-tabs-and-newlines": text((h) => `${h}\t\r\n\n`),
  "leading-space": text((h) => ` ${h}`),
  "pretty-printed": text((h) => JSON.stringify(JSON.parse(h), undefined, 4)),
  "odd-length": shard({ align: 1, text: (h) => (h.length % 2 === 0 ? `${h} ` : h) }),
  "aligned-to-4096": shard({ align: 4096 }),
  "no-metadata": shard({ metadata: undefined }),
  "empty-metadata": shard({ metadata: {} }),
  "much-metadata": shard({ metadata: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`key ${i}`, "v".repeat(100)])) }),
  "odd-metadata": text((h) => h.replace("{\"format\":\"pt\"}", "{\"\":\"\",\"__proto__\":\"x\",\"\\u0000\":\"\\ud83d\\ude00\",\"constructor\":\"{}\"}")),
  "metadata-last": text((h) => {
    const { __metadata__, ...rest } = JSON.parse(h) as Record<string, Json>
    return JSON.stringify({ ...rest, __metadata__ })
  }),
  "unknown-fields": text((h) => h.replaceAll("\"dtype\"", "\"strides\":[1,{\"a\":null}],\"note\":\"\\u00e9\",\"dtype\"")),
  "fields-in-another-order": shard({
    entries: (h) => Object.fromEntries(Object.entries(h).map(([name, e]) => [name, name === "__metadata__" ? e : Object.fromEntries(Object.entries(e as object).reverse())]))
  }),
  "entries-reversed": shard({ entries: (h) => Object.fromEntries(Object.entries(h).reverse()) }),
  "escaped-names": text((h) => h.replaceAll(/"(model|lm_head)\./g, (_, name: string) => `"${[...name].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}.`)),
  "escaped-slashes": text((h) => h.replace("\"format\":\"pt\"", "\"format\":\"a\\/b\"")),
  "longest-header": shard({ align: 1, text: (h) => Buffer.concat([Buffer.from(h), Buffer.alloc(100_000_000 - h.length, " ")]) })
})

const data = table("data", {
  "reversed-order": (a) => withTensors(single(a), (ts) => [...ts].reverse()),
  "shuffled-order": (a) => withTensors(single(a), (ts) => [...ts].sort((x, y) => x.data.length - y.data.length || (x.name < y.name ? 1 : -1))),
  "unaligned": (a) => withShard(single(a), { align: 1, text: (h) => `${h}${" ".repeat((3 - (h.length % 4) + 4) % 4)}` }),
  "zeros": (a) => withTensors(single(a), (ts) => ts.map((t) => ({ ...t, data: Buffer.alloc(t.data.length) }))),
  "all-bits-set": (a) => withTensors(single(a), (ts) => ts.map((t) => ({ ...t, data: Buffer.alloc(t.data.length, 0xff) }))),
  "looks-like-json": (a) => withTensors(single(a), (ts) => ts.map((t) => ({ ...t, data: Buffer.alloc(t.data.length, "{\"a\":1}") })))
})

/** Bit patterns that arithmetic does not keep, at every place of every tensor in turn. */
const PATTERNS: Readonly<Record<string, readonly [dtype: "BF16" | "F16" | "F32" | "F64", ...bits: ReadonlyArray<bigint>]>> = {
  "bf16-special": ["BF16", 0x7f81n, 0xff81n, 0x7fc1n, 0x7fffn, 0x7f80n, 0xff80n, 0x8000n, 0x0001n, 0x807fn],
  "f16-special": ["F16", 0x7c01n, 0xfc01n, 0x7e01n, 0x7fffn, 0x7c00n, 0xfc00n, 0x8000n, 0x0001n, 0x83ffn],
  "f32-special": ["F32", 0x7f800001n, 0xff800001n, 0x7fc00001n, 0x7fffffffn, 0x7f800000n, 0xff800000n, 0x80000000n, 1n, 0x807fffffn],
  "f64-special": ["F64", 0x7ff0000000000001n, 0xfff0000000000001n, 0x7ff8000000000001n, 0x7fffffffffffffffn, 0x7ff0000000000000n, 0x8000000000000000n, 1n]
}
const WIDTH = { BF16: 2, F16: 2, F32: 4, F64: 8 } as const

const filled = (t: ToyTensor, dtype: keyof typeof WIDTH, bits: ReadonlyArray<bigint>): ToyTensor => {
  const width = WIDTH[dtype]
  const elements = t.shape.reduce((a, b) => a * b, 1)
  const out = Buffer.alloc(elements * width)
  for (let i = 0; i < elements; i++) {
    const value = bits[(i + t.name.length) % bits.length]!
    if (width === 2) out.writeUInt16LE(Number(value), 2 * i)
    else if (width === 4) out.writeUInt32LE(Number(value), 4 * i)
    else out.writeBigUInt64LE(value, 8 * i)
  }
  return { ...t, dtype, data: out }
}

const values = table("values", Object.fromEntries(Object.entries(PATTERNS).map(([id, [dtype, ...bits]]) => [
  id,
  (a: Architecture) => withTensors(single(a), (ts) => ts.map((t) => filled(t, dtype, bits)))
])))

const retyped = (dtype: string, width: number) => (t: ToyTensor): ToyTensor => {
  const elements = t.shape.reduce((a, b) => a * b, 1)
  return { ...t, dtype, data: Buffer.from(Uint8Array.from({ length: elements * width }, (_, i) => (i * 37 + t.name.length) & 255)) }
}

const dtypes = table("dtype", {
  "f16": (a) => withTensors(single(a, { torch_dtype: "float16" }), () => tensorsOf(configOf(a), "F16")),
  "f32": (a) => withTensors(single(a, { torch_dtype: "float32" }), () => tensorsOf(configOf(a), "F32")),
  "f32-said-to-be-bf16": (a) => withTensors(single(a), () => tensorsOf(configOf(a), "F32")),
  "f64": (a) => withTensors(single(a), (ts) => ts.map(retyped("F64", 8))),
  "norms-f32": (a) => withTensors(single(a), (ts) => ts.map((t) => (t.name.includes("norm") ? { ...t, dtype: "F32", data: dataOf(t.name, "F32", t.shape) } : t))),
  "head-f32": (a) => withTensor(single(a), HEAD, (t) => ({ ...t, dtype: "F32", data: dataOf(t.name, "F32", t.shape) })),
  "layers-of-two-dtypes": (a) => withTensors(single(a), (ts) => ts.map((t) => (t.name.includes("layers.1.") ? retyped("F16", 2)(t) : t))),
  "query-f32": (a) => withTensor(single(a), "model.layers.0.self_attn.q_proj.weight", retyped("F32", 4)),
  "gate-f64": (a) => withTensor(single(a), "model.layers.1.mlp.gate_proj.weight", retyped("F64", 8)),
  "one-norm-f32": (a) => withTensor(single(a), NORM, (t) => ({ ...t, dtype: "F32", data: dataOf(t.name, "F32", t.shape) }))
})

const index = (change: (x: Record<string, Json>) => Json) => (a: Architecture): Hf => ({ ...sharded(a), index: change })
const mapped = (x: Record<string, Json>) => x["weight_map"] as Record<string, string>

const shards = table("shards", {
  "two": (a) => sharded(a),
  "seven": (a) => sharded(a, 7),
  "one-with-index": (a) => sharded(a, 1),
  "one-tensor-each": (a) => sharded(a, tensorsOf(configOf(a)).length),
  "an-empty-one": (a) => {
    const hf = sharded(a)
    return { ...hf, shards: [...hf.shards, { file: "empty.safetensors", tensors: [], metadata: { format: "pt" } }] }
  },
  "in-a-folder": (a) => renamed(sharded(a), (_, i) => `weights/part-${i}.safetensors`),
  "in-deep-folders": (a) => renamed(sharded(a), (_, i) => `a/b/c/${i}/x.safetensors`),
  "odd-names": (a) => renamed(sharded(a, 3), (_, i) => ["a b.safetensors", "ü-模型.safetensors", "-rf.safetensors"][i]!),
  "names-with-dots": (a) => renamed(sharded(a), (_, i) => `..${i}...safetensors`),
  "hidden-names": (a) => renamed(sharded(a), (_, i) => `.${i}.safetensors`),
  "other-index-name": (a) => ({ ...sharded(a), indexName: "weights.safetensors.index.json" }),
  "a-single-file-of-another-name": (a) => renamed(single(a), () => "weights.safetensors"),
  "no-index-metadata": index(({ weight_map }) => ({ weight_map })),
  "wrong-total-size": index((x) => ({ ...x, metadata: { total_size: 1 } })),
  "total-size-a-string": index((x) => ({ ...x, metadata: { total_size: "9120" } })),
  "total-size-a-float": index((x) => ({ ...x, metadata: { total_size: 9120.5 } })),
  "total-size-huge": index((x) => ({ ...x, metadata: { total_size: 2 ** 60 } })),
  "more-index-metadata": index((x) => ({ ...x, metadata: { total_size: 9120, total_parameters: 4560, note: [{ a: null }] }, other: { b: 1 } })),
  "index-keys-reversed": index((x) => ({ weight_map: Object.fromEntries(Object.entries(mapped(x)).reverse()), metadata: x["metadata"] })),
  "index-minified": (a) => ({ ...sharded(a), indexFile: (t) => Buffer.from(JSON.stringify(JSON.parse(t))) }),
  "index-with-crlf": (a) => ({ ...sharded(a), indexFile: (t) => Buffer.from(t.replaceAll("\n", "\r\n")) }),
  "tensors-scattered": (a) => {
    const tensors = tensorsOf(configOf(a))
    return { ...sharded(a), shards: [0, 1].map((k) => ({ file: shardName(k + 1, 2), tensors: tensors.filter((_, i) => i % 2 === k), metadata: { format: "pt" } })) }
  }
})

function renamed(hf: Hf, name: (file: string, i: number) => string): Hf {
  return { ...hf, shards: hf.shards.map((s, i) => ({ ...s, file: name(s.file, i) })) }
}

const files = table("files", {
  "others-beside": (a) => ({
    ...single(a),
    others: [["consolidated.safetensors", Buffer.from("broken")], ["pytorch_model.bin", Buffer.from("PK")], [".gitattributes", Buffer.from("*")], ["README.md", Buffer.from("# toy")]]
  }),
  "tokenizer-beside": (a) => ({
    ...single(a),
    others: [["tokenizer.json", Buffer.from("{}")], ["tokenizer_config.json", Buffer.alloc(0)], ["merges.txt", Buffer.from("a b\n")], ["chat_template.jinja", Buffer.from("{{ x }}")]]
  }),
  "folders-beside": (a) => ({ ...single(a), others: [["onnx/model.onnx", Buffer.from("x")], ["original/params.json", Buffer.from("{}")]] }),
  "stale-index-of-another-name": (a) => ({ ...single(a), others: [["old.safetensors.index.json", Buffer.from("{")]] }),
  "a-hidden-file-beside-weights-of-another-name": (a) => ({ ...renamed(single(a), () => "weights.safetensors"), others: [["._weights.safetensors", Buffer.from("Mac OS X")]] }),
  "weights-are-a-link": (a) => linked(single(a), "real.bin"),
  "weights-are-a-link-to-a-link": (a) => ({ ...linked(single(a), "real.bin"), others: [...linked(single(a), "a/real.bin").others!.slice(1), [SINGLE, link("hop")], ["hop", link("a/real.bin")]] })
})

/** The weight file under another name, and a link in its place. */
function linked(hf: Hf, to: string): Hf {
  const file = filesOf(hf).get(SINGLE)!
  return { ...hf, others: [[SINGLE, link(to)], [to, file]] }
}

/** As `huggingface_hub` keeps a download: a snapshot of links to blobs. */
const cached: GoodCase = {
  id: "files/hub-cache",
  path: "models--toy/snapshots/0123",
  files: () => {
    const out = new Map<string, Node>()
    for (const [i, [name, node]] of [...filesOf(sharded("llama"))].entries()) {
      out.set(`models--toy/blobs/${i}`, node)
      out.set(`models--toy/snapshots/0123/${name}`, link(`../../blobs/${i}`))
    }
    return out
  }
}

const folders = ["with space", "ünïcödé-模型", "-leading-dash", "quote'\"s", "a$b`c;d", "100%", "dots...", "trailing."].map((name, i): GoodCase => ({
  id: `folder/${name}`,
  path: name,
  files: () => new Map([...filesOf(single(architectures[i % 3]!))].map(([file, node]) => [`${name}/${file}`, node]))
}))

const linkedFolder: GoodCase = {
  id: "folder/a-link",
  path: "there",
  files: () => new Map<string, Node>([...[...filesOf(single("qwen2"))].map(([file, node]) => [`real/${file}`, node] as const), ["there", link("real")]])
}

const written = (change: Config) => (a: Architecture): Hf => ({ ...single(a), config: { ...configOf(a), ...change } })
const configText = (change: (text: string) => string) => (a: Architecture): Hf => ({ ...single(a), configFile: Buffer.from(change(JSON.stringify(configOf(a), undefined, 2))) })

const configs = table("config", {
  "minified": configText((t) => JSON.stringify(JSON.parse(t))),
  "crlf-and-tabs": configText((t) => t.replaceAll("\n", "\r\n").replaceAll("  ", "\t")),
  "blank-lines-around": configText((t) => `\n\n  ${t}\n\n\n`),
  "escaped-letters": configText((t) => t.replace("\"silu\"", "\"\\u0073ilu\"")),
  "keys-reversed": configText((t) => JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(t) as object).reverse()))),
  "sizes-written-as-floats": configText((t) => t.replace("\"hidden_size\": 16", "\"hidden_size\": 16.0").replace("\"vocab_size\": 20", "\"vocab_size\": 2e1")),
  "non-finite-in-unknown-fields": configText((t) => t.replace("{", "{\"a\": NaN, \"b\": [Infinity, -Infinity],")),
  "huge-numbers-in-unknown-fields": configText((t) => t.replace("{", "{\"a\": 123456789012345678901234567890, \"b\": 1e308, \"c\": -0,")),
  "unknown-fields": written({ constructor: 1, toString: {}, auto_map: { AutoModel: "x.y" }, nested: { deep: [[[[null]]]] }, "": "", "ключ": "значение" }),
  "nested-to-the-limit": configText((t) => t.replace("{", `{"x": ${"[".repeat(60)}${"]".repeat(60)},`)),
  "many-fields": written(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`field_${i}`, i]))),
  "a-megabyte": written({ text: "x".repeat(1 << 20) }),
  "no-dtype": configText((t) => t.replace(/,\n {2}"torch_dtype": "bfloat16"/, "")),
  "newer-dtype-name": configText((t) => t.replace("torch_dtype", "dtype")),
  "nulls": written({ rope_scaling: null, head_dim: 4, attention_bias: null, attention_dropout: null, eos_token_id: null, quantization_config: null }),
  "rope-parameters": written({ rope_theta: undefined, rope_parameters: { rope_theta: 500000, rope_type: "default" } }),
  "several-architectures": (a) => ({ ...single(a), config: { ...configOf(a), architectures: [...configOf(a)["architectures"] as Array<string>, "SomethingElse", 3] } }),
  "several-end-tokens": written({ eos_token_id: [1, 2, 3] }),
  "extreme-floats": written({ rms_norm_eps: 1e-300, rope_theta: 1e300, initializer_range: 0 })
})

/** The same structure in unusual sizes: the tensors follow. */
const sizes = table("sizes", {
  "one-layer": (a) => single(a, { num_hidden_layers: 1 }),
  "forty-layers": (a) => single(a, { num_hidden_layers: 40 }),
  "one-head": (a) => single(a, { num_attention_heads: 1, num_key_value_heads: 1, ...(a === "qwen3" ? { head_dim: 16 } : {}) }),
  "one-group": (a) => single(a, { num_key_value_heads: 1 }),
  "groups-as-heads": (a) => single(a, { num_key_value_heads: 4 }),
  "vocabulary-of-one": (a) => single(a, { vocab_size: 1 }),
  "prime-sizes": (a) => single(a, { intermediate_size: 29, vocab_size: 31 }),
  "width-one": (a) => single(a, { hidden_size: 1, num_attention_heads: 1, num_key_value_heads: 1, head_dim: 1, intermediate_size: 1 }),
  "wide-heads": (a) => single(a, { head_dim: 32 }),
  "tied": (a) => single(a, { tie_word_embeddings: true }),
  "tied-with-stored-head": (a) => {
    const hf = single(a, { tie_word_embeddings: true })
    return withTensors(hf, (ts) => [...ts, { name: HEAD, dtype: "BF16", shape: [20, 16], data: dataOf(HEAD, "BF16", [20, 16]) }])
  },
  "stored-rotary-frequencies": (a) => withTensors(single(a), (ts) => [
    ...ts,
    ...[0, 1].map((i) => ({ name: `model.layers.${i}.self_attn.rotary_emb.inv_freq`, dtype: "F32", shape: [2], data: Buffer.alloc(8, 1) }))
  ])
})

const bytes = (name: string, dtype: string, shape: ReadonlyArray<number>, count: number): ToyTensor => ({ name, dtype, shape, data: Buffer.alloc(count, 7) })
const looked = (id: string, tensors: ReadonlyArray<ToyTensor>): GoodCase => ({ ...good(`looked-at/${id}`, 0, (a) => withTensors(single(a), (ts) => [...ts, ...tensors])), inspectOnly: true })

const lookedAt: ReadonlyArray<GoodCase> = [
  looked("every-dtype", ([
    ["BOOL", 4], ["F4", 2], ["F6_E2M3", 3], ["F6_E3M2", 3], ["U8", 4], ["I8", 4], ["F8_E5M2", 4], ["F8_E4M3", 4], ["F8_E8M0", 4], ["F8_E4M3FNUZ", 4], ["F8_E5M2FNUZ", 4],
    ["I16", 8], ["U16", 8], ["F16", 8], ["BF16", 8], ["I32", 16], ["U32", 16], ["F32", 16], ["C64", 32], ["F64", 32], ["I64", 32], ["U64", 32]
  ] as const).map(([dtype, count]) => bytes(`x.${dtype}`, dtype, [2, 2], count))),
  looked("scalars", [bytes("a", "F32", [], 4), bytes("b", "I64", [], 8), bytes("c", "BOOL", [], 1)]),
  looked("without-elements", [bytes("a", "F32", [0], 0), bytes("b", "BF16", [3, 0, 5], 0), bytes("c", "F4", [0], 0), bytes("d", "F32", [0, 2 ** 40], 0)]),
  looked("many-axes", [bytes("a", "U8", new Array<number>(100).fill(1), 1)]),
  looked("odd-names", ["", "\u0000", "\u001b[2J", "\u202etxt", "../../etc/passwd", "/", "é", "e\u0301", "constructor", "😀", "a".repeat(40_000), " ", "\n"].map((name) => bytes(name, "U8", [1], 1))),
  { ...good("looked-at/no-tensors", 1, (a) => withTensors(single(a), () => [])), inspectOnly: true },
  { ...good("looked-at/no-tensors-no-metadata", 2, (a) => withShard(withTensors(single(a), () => []), { metadata: undefined })), inspectOnly: true },
  { ...good("looked-at/prototype-name", 0, (a) => withShard(withTensors(single(a), (ts) => [...ts, bytes("proto", "U8", [1], 1)]), { text: (h) => h.replace("\"proto\"", "\"__proto__\"") })), inspectOnly: true },
  { ...good("looked-at/no-config", 0, (a) => ({ ...single(a), without: ["config.json"] })), inspectOnly: true },
  { ...good("looked-at/one-file", 1, (a) => single(a), { path: SINGLE }), inspectOnly: true },
  { ...good("looked-at/an-index", 2, (a) => sharded(a), { path: "model.safetensors.index.json" }), inspectOnly: true },
  { ...good("looked-at/a-shard", 0, (a) => sharded(a), { path: shardName(2, 2) }), inspectOnly: true }
]

export const hfGood: ReadonlyArray<GoodCase> = [
  ...headers, ...data, ...values, ...dtypes, ...shards, ...files, cached, ...folders, linkedFolder, ...configs, ...sizes, ...lookedAt
]
