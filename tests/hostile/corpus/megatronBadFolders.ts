/** Checkpoint directories with files missing, broken, or not what their names say. */
import type { BadCase, Command } from "./Case.ts"
import { directory, fifo, type FileSet, link, type Node } from "./FileSet.ts"
import { filesOf, type Megatron } from "./Megatron.ts"
import { type Architecture, architectures } from "./Toy.ts"

export type Bases = Readonly<Record<Architecture, Megatron>>

const BOTH: ReadonlyArray<Command> = ["inspect", "export"]
const ITER = "iter_0000000"
const TXT = "latest_checkpointed_iteration.txt"
const PT = "latest_train_state.pt"
const DATA = `${ITER}/__0_0.distcp`

type Change = (files: Map<string, Node>) => void

const bytesIn = (files: FileSet, name: string): Buffer => Buffer.from(files.get(name) as Uint8Array)
const put = (name: string, node: Node | string): Change => (f) => void f.set(name, typeof node === "string" ? Buffer.from(node) : node)
const edit = (name: string, change: (bytes: Buffer) => Uint8Array): Change => (f) => void f.set(name, change(bytesIn(f, name)))
const remove = (...names: ReadonlyArray<string>): Change => (f) => { for (const name of names) f.delete(name) }
const all = (...changes: ReadonlyArray<Change>): Change => (f) => { for (const change of changes) change(f) }

const changes: Readonly<Record<string, readonly [Change, ...says: ReadonlyArray<string>]>> = {
  "no-metadata": [remove(`${ITER}/.metadata`), ".metadata", "does not exist"],
  "no-backend": [remove(`${ITER}/metadata.json`), "metadata.json", "does not exist"],
  "no-trackers": [remove(TXT, PT), TXT],
  "no-common-state": [
    (f) => {
      f.delete(`${ITER}/common.pt`)
      f.set(`${ITER}/.metadata`, Buffer.from(bytesIn(f, `${ITER}/.metadata`).toString("latin1").replaceAll("common_state/shard_0_1", "uncommon_sta/shard_0_1"), "latin1"))
    },
    "common.pt",
    "common_state"
  ],
  "data-file-missing": [remove(DATA), "__0_0.distcp", "does not exist", "tensor"],
  "data-file-empty": [put(DATA, ""), "__0_0.distcp", "0"],
  "data-file-one-byte-short": [edit(DATA, (b) => b.subarray(0, b.length - 1)), "__0_0.distcp"],
  "data-file-half": [edit(DATA, (b) => b.subarray(0, b.length / 2)), "__0_0.distcp", "tensor"],
  "data-file-is-a-directory": [put(DATA, directory), "__0_0.distcp", "not a regular file"],
  "data-file-is-a-fifo": [put(DATA, fifo), "__0_0.distcp", "not a regular file"],
  "data-file-is-a-link-out": [put(DATA, link("/etc/passwd")), "__0_0.distcp", "link"],
  "data-file-is-a-dangling-link": [put(DATA, link("nowhere")), "__0_0.distcp", "does not exist"],
  "data-file-is-a-link-to-itself": [put(DATA, link("__0_0.distcp")), "__0_0.distcp", "link"],
  "data-file-in-the-parent": [(f) => { f.set("__0_0.distcp", f.get(DATA)!); f.set(DATA, link("../__0_0.distcp")) }, "__0_0.distcp", "link"],
  "metadata-empty": [put(`${ITER}/.metadata`, ""), ".metadata", "byte 0"],
  "metadata-is-a-directory": [put(`${ITER}/.metadata`, directory), ".metadata", "not a regular file"],
  "metadata-is-a-fifo": [put(`${ITER}/.metadata`, fifo), ".metadata", "not a regular file"],
  "metadata-is-a-link-out": [put(`${ITER}/.metadata`, link("/etc/passwd")), ".metadata", "link"],
  "metadata-is-a-dangling-link": [put(`${ITER}/.metadata`, link("nowhere")), ".metadata"],
  "metadata-is-text": [put(`${ITER}/.metadata`, "{\"state_dict_metadata\": {}}"), ".metadata", "byte 0"],
  "metadata-is-huge": [put(`${ITER}/.metadata`, { kind: "sparse", head: Buffer.of(0x80, 4), size: 600 << 20 }), ".metadata", String(600 << 20)],
  "metadata-is-a-zip": [put(`${ITER}/.metadata`, "PK\u0003\u0004"), ".metadata", "byte 0"],
  "backend-empty": [put(`${ITER}/metadata.json`, ""), "metadata.json", "byte 0"],
  "backend-not-json": [put(`${ITER}/metadata.json`, "torch_dist"), "metadata.json", "byte"],
  "backend-cut": [edit(`${ITER}/metadata.json`, (b) => b.subarray(0, 20)), "metadata.json", "byte"],
  "backend-array": [put(`${ITER}/metadata.json`, "[]"), "metadata.json"],
  "backend-null": [put(`${ITER}/metadata.json`, "null"), "metadata.json"],
  "backend-twice": [put(`${ITER}/metadata.json`, "{\"sharded_backend\": \"zarr\", \"sharded_backend\": \"torch_dist\"}"), "metadata.json", "sharded_backend"],
  "backend-missing-field": [put(`${ITER}/metadata.json`, "{\"sharded_backend_version\": 1}"), "metadata.json", "sharded_backend"],
  "backend-zarr": [put(`${ITER}/metadata.json`, "{\"sharded_backend\": \"zarr\", \"sharded_backend_version\": 1}"), "metadata.json", "zarr"],
  "backend-number": [put(`${ITER}/metadata.json`, "{\"sharded_backend\": 1}"), "metadata.json"],
  "backend-invalid-utf8": [put(`${ITER}/metadata.json`, Buffer.from("{\"sharded_backend\": \"torch_dist\", \"x\": \"\xff\"}", "latin1")), "metadata.json", "UTF-8"],
  "backend-is-a-directory": [put(`${ITER}/metadata.json`, directory), "metadata.json", "not a regular file"],
  "backend-is-a-link-out": [put(`${ITER}/metadata.json`, link("/etc/hostname")), "metadata.json", "link"],
  "tracker-garbage": [put(TXT, "latest"), TXT, "latest"],
  "tracker-empty": [put(TXT, ""), TXT],
  "tracker-negative": [put(TXT, "-1"), TXT, "-1"],
  "tracker-fraction": [put(TXT, "1.5"), TXT, "1.5"],
  "tracker-path": [put(TXT, "../../etc"), TXT],
  "tracker-huge": [put(TXT, "9".repeat(400)), TXT],
  "tracker-binary": [put(TXT, Buffer.of(0, 1, 2, 0xff)), TXT],
  "tracker-names-a-missing-folder": [all(put(TXT, "7"), remove(PT)), TXT, "iter_0000007"],
  "tracker-is-a-directory": [put(TXT, directory), TXT, "not a regular file"],
  "trackers-disagree": [all(put(TXT, "7"), (f) => f.set("iter_0000007/metadata.json", f.get(`${ITER}/metadata.json`)!)), TXT, PT],
  "tracker-pt-cut": [edit(PT, (b) => b.subarray(0, 2000)), PT],
  "tracker-pt-empty": [put(PT, ""), PT],
  "tracker-pt-a-pickle": [put(PT, Buffer.from([0x80, 2, 0x7d, 0x2e])), PT],
  "common-empty": [put(`${ITER}/common.pt`, ""), "common.pt"],
  "common-cut": [edit(`${ITER}/common.pt`, (b) => b.subarray(0, b.length - 100)), "common.pt"],
  "common-text": [put(`${ITER}/common.pt`, "not a checkpoint"), "common.pt", "byte 0"],
  "common-old-format": [put(`${ITER}/common.pt`, Buffer.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e])), "common.pt"],
  "common-is-a-directory": [put(`${ITER}/common.pt`, directory), "common.pt"],
  "common-is-a-fifo": [put(`${ITER}/common.pt`, fifo), "common.pt"],
  "common-is-a-dangling-link": [put(`${ITER}/common.pt`, link("nowhere")), "common.pt", "link"],
  "common-is-a-link-out": [put(`${ITER}/common.pt`, link("/etc/passwd")), "common.pt"],
  "iteration-is-a-file": [(f) => { for (const name of f.keys()) if (name.startsWith(ITER)) f.delete(name); f.set(ITER, Buffer.from("x")) }, ITER],
  "legacy": [(f) => { f.clear(); f.set(`${ITER}/mp_rank_00/model_optim_rng.pt`, Buffer.from("PK")); f.set(TXT, Buffer.from("0")) }, "mp_rank_00", "byte"],
  "legacy-folder": [(f) => { f.clear(); f.set("mp_rank_00/model_optim_rng.pt", Buffer.from("PK")) }, "mp_rank_00", "byte"],
  "rank-without-a-file": [(f) => { f.clear(); f.set("mp_rank_00/other.pt", Buffer.from("PK")) }, "mp_rank_00", "model_optim_rng.pt"],
  "rank-is-a-link-out": [(f) => { f.clear(); f.set("mp_rank_00/model_optim_rng.pt", link("/etc/passwd")) }, "link"]
}

export const megatronBadFolders = (bases: Bases): ReadonlyArray<BadCase> => [
  ...Object.entries(changes).map(([id, [change, ...says]], i): BadCase => ({
    id: `folder/${id}`,
    files: () => {
      const files = new Map(filesOf(bases[architectures[i % 3]!]))
      change(files)
      return files
    },
    commands: BOTH,
    says,
    architecture: architectures[i % 3]!
  })),
  { id: "folder/absent", files: () => new Map(), path: "absent", commands: BOTH, says: ["absent", "does not exist"] },
  { id: "folder/empty", files: () => new Map([["there", directory]]), path: "there", commands: BOTH, says: ["there"] },
  { id: "folder/a-file", files: () => filesOf(bases.llama), path: TXT, commands: ["export"], says: [TXT, "not a directory"] },
  { id: "folder/a-hugging-face-model", files: () => new Map([["model.safetensors", Buffer.alloc(0)]]), commands: ["export"], says: ["Megatron"] }
]
