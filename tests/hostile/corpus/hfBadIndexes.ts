/** Indexes that lie, contradict themselves, or point where nobody should look. */
import type { BadCase, Command } from "./Case.ts"
import { directory, fifo, link, type Node } from "./FileSet.ts"
import { filesOf, type Hf, type Json, sharded, shardName } from "./Hf.ts"
import { architectures } from "./Toy.ts"

const COMMANDS: ReadonlyArray<Command> = ["inspect", "import"]
const INDEX = "model.safetensors.index.json"
const NORM = "model.norm.weight"
type Index = Record<string, Json> & { weight_map: Record<string, Json> }

/** In place of the shard name of `model.norm.weight`. */
const names: Readonly<Record<string, Json>> = {
  "absolute": "/etc/passwd",
  "absolute-safetensors": "/tmp/model.safetensors",
  "parent": "../model.safetensors",
  "parent-inside": "a/../../model.safetensors",
  "parent-deep": `${"../".repeat(30)}etc/x.safetensors`,
  "dot": "./model-00002-of-00002.safetensors",
  "double-slash": "a//b.safetensors",
  "trailing-slash": "model-00002-of-00002.safetensors/",
  "backslash": "..\\model.safetensors",
  "drive": "C:model.safetensors",
  "unc": "\\\\host\\share\\x.safetensors",
  "url": "https://example.org/x.safetensors",
  "nul": "model-00002-of-00002.safetensors\u0000.txt",
  "newline": "model\n.safetensors",
  "empty": "",
  "only-dots": "..",
  "other-suffix": "pytorch_model.bin",
  "no-suffix": "model-00002-of-00002",
  "too-long": `${"x".repeat(300)}.safetensors`,
  "number": 2,
  "null": null,
  "array": [shardName(2, 2)],
  "object": { file: shardName(2, 2) }
}

const indexed = (id: string, i: number, change: Partial<Hf>, ...says: ReadonlyArray<string>): BadCase => ({
  id: `index/${id}`,
  files: () => filesOf({ ...sharded(architectures[i % 3]!), ...change }),
  commands: COMMANDS,
  says
})

const parsed = (change: (index: Index) => Json) => ({ index: (index: Record<string, Json>) => change(index as Index) })
const file = (change: (text: string) => Node | string) => ({
  indexFile: (text: string): Node => {
    const changed = change(text)
    return typeof changed === "string" ? Buffer.from(changed) : changed
  }
})

const moved = (index: Index, tensor: string, shard: Json): Index => ({ ...index, weight_map: { ...index.weight_map, [tensor]: shard } })

const documents: Readonly<Record<string, readonly [change: Partial<Hf>, ...says: ReadonlyArray<string>]>> = {
  "empty-file": [file(() => ""), "byte 0"],
  "not-json": [file(() => "weights are elsewhere"), "byte 0"],
  "cut": [file((t) => t.slice(0, t.length / 2)), "byte"],
  "trailing": [file((t) => `${t}}`), "byte"],
  "byte-order-mark": [file((t) => `\ufeff${t}`), "byte 0"],
  "utf16": [file((t) => Buffer.from(`\ufeff${t}`, "utf16le")), "byte 0"],
  "invalid-utf8": [file((t) => Buffer.from(t.replace(NORM, "model.\xffnorm"), "latin1")), "UTF-8", "byte"],
  "duplicate-tensor": [file((t) => t.replace(`"${NORM}":`, `"lm_head.weight": "x.safetensors", "${NORM}":`)), "lm_head.weight", "twice"],
  "duplicate-weight-map": [file((t) => t.replace("\"weight_map\"", "\"weight_map\": {}, \"weight_map\"")), "weight_map", "twice"],
  "git-lfs-pointer": [file(() => "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3209\n"), "Git LFS", "byte 0"],
  "deep": [file(() => `{"weight_map":${"[".repeat(50_000)}`), "deeper"],
  "nan": [file((t) => t.replace(/"total_size": \d+/, "\"total_size\": NaN")), "byte"],
  "array": [parsed((x) => [x]), "not a JSON object"],
  "null": [parsed(() => null), "not a JSON object"],
  "no-weight-map": [parsed(({ metadata }) => ({ metadata })), "weight_map"],
  "weight-map-array": [parsed((x) => ({ ...x, weight_map: Object.entries(x.weight_map) })), "weight_map"],
  "weight-map-null": [parsed((x) => ({ ...x, weight_map: null })), "weight_map"],
  "weight-map-empty": [parsed((x) => ({ ...x, weight_map: {} })), "weight_map"],
  "metadata-array": [parsed((x) => ({ ...x, metadata: [] })), "metadata"],
  "missing-shard": [parsed((x) => moved(x, NORM, "model-00003-of-00002.safetensors")), "model-00003-of-00002.safetensors", "does not exist"],
  "other-case": [parsed((x) => moved(x, NORM, "Model-00002-of-00002.safetensors")), "Model-00002-of-00002.safetensors", "does not exist"],
  "percent-encoded": [parsed((x) => moved(x, NORM, "%2e%2e%2fmodel.safetensors")), "%2e%2e%2fmodel.safetensors", "does not exist"],
  "wrong-shard": [parsed((x) => moved(x, NORM, shardName(1, 2))), NORM, shardName(1, 2)],
  "listed-not-stored": [parsed((x) => moved(x, "model.layers.9.mlp.down_proj.weight", shardName(1, 2))), "model.layers.9.mlp.down_proj.weight", shardName(1, 2)],
  "stored-not-listed": [
    parsed((x) => ({ ...x, weight_map: Object.fromEntries(Object.entries(x.weight_map).filter(([name]) => name !== NORM)) })),
    NORM,
    "does not list"
  ],
  "a-directory": [file(() => directory), "not a regular file"],
  "a-fifo": [file(() => fifo), "not a regular file"],
  "a-link-out": [file(() => link("/etc/hostname")), "outside"],
  "a-dangling-link": [file(() => link("nowhere.json")), "does not exist"]
}

export const hfBadIndexes: ReadonlyArray<BadCase> = [
  ...Object.entries(names).map(([id, name], i) => indexed(`name/${id}`, i, parsed((x) => moved(x, NORM, name)), INDEX, NORM)),
  ...Object.entries(documents).map(([id, [change, ...says]], i) => indexed(id, i, change, ...(id === "missing-shard" || id === "other-case" || id === "percent-encoded" ? [] : [INDEX]), ...says))
]
