/** Weight files that are no safetensors files: wrong lengths, other formats, things that are no files. */
import { gzipSync } from "node:zlib"
import type { BadCase, Command } from "./Case.ts"
import { directory, fifo, link, type Node } from "./FileSet.ts"
import { filesOf, sharded, shardName, single, SINGLE, withShard } from "./Hf.ts"
import { architectures } from "./Toy.ts"

const BOTH: ReadonlyArray<Command> = ["inspect", "import"]

const u64 = (n: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(n)
  return bytes
}

const withLength = (n: bigint) => (file: Buffer): Node => Buffer.concat([u64(n), file.subarray(8)])

/** What becomes of the one weight file, and what is said of it beside its name. */
const spoilt: Readonly<Record<string, readonly [change: (file: Buffer) => Node, ...says: ReadonlyArray<string>]>> = {
  "empty": [() => Buffer.alloc(0), "0 bytes"],
  "seven-bytes": [(f) => f.subarray(0, 7), "7 bytes"],
  "length-only": [(f) => f.subarray(0, 8), "byte 0"],
  "length-zero": [withLength(0n), "byte 0"],
  "length-past-end": [(f) => withLength(BigInt(f.length))(f), "byte 0"],
  "length-past-end-by-one": [(f) => withLength(BigInt(f.length - 7))(f), "byte 0"],
  "length-over-limit": [() => ({ kind: "sparse", head: u64(100_000_001n), size: 100_000_100 }), "100000001", "byte 0"],
  "length-u64-max": [withLength(0xffffffffffffffffn), "18446744073709551615", "byte 0"],
  "length-bit-63": [withLength(1n << 63n), "byte 0"],
  "length-high-word": [(f) => withLength((1n << 32n) + f.readBigUInt64LE(0))(f), "byte 0"],
  "length-big-endian": [(f) => Buffer.concat([Buffer.from(f.subarray(0, 8)).reverse(), f.subarray(8)]), "byte 0"],
  "length-one-short": [(f) => withLength(f.readBigUInt64LE(0) - 8n)(f), "byte"],
  "header-cut": [(f) => f.subarray(0, 8 + Math.floor(Number(f.readBigUInt64LE(0)) / 2)), "byte 0"],
  "no-data": [(f) => f.subarray(0, 8 + Number(f.readBigUInt64LE(0))), "lm_head.weight"],
  "data-half": [(f) => f.subarray(0, Math.floor(f.length * 0.6)), "tensor", "byte"],
  "last-byte-missing": [(f) => f.subarray(0, f.length - 1), "model.norm.weight"],
  "one-byte-more": [(f) => Buffer.concat([f, Buffer.from([0])]), "1 byte after"],
  "a-page-more": [(f) => Buffer.concat([f, Buffer.alloc(4096)]), "4096 bytes"],
  "twice": [(f) => Buffer.concat([f, f]), "byte"],
  "zeros": [(f) => Buffer.alloc(f.length), "byte 0"],
  "ones": [(f) => Buffer.alloc(f.length, 0xff), "byte 0"],
  "random": [(f) => Buffer.from(f.map((_, i) => (i * 167 + 13) & 255)), "byte 0"],
  "gzip": [(f) => gzipSync(f), "gzip"],
  "torch-zip": [(f) => Buffer.concat([Buffer.from("PK\x03\x04\0\0\x08\x08"), f]), "torch.save"],
  "bare-pickle": [(f) => Buffer.concat([Buffer.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46]), f]), "pickle"],
  "html": [() => Buffer.from("<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"), "HTML"],
  "git-lfs-pointer": [() => Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3209\n"), "Git LFS"],
  "gguf": [(f) => Buffer.concat([Buffer.from("GGUF\x03\0\0\0"), f]), "GGUF"],
  "json-without-length": [(f) => f.subarray(8), "byte 0"],
  "a-directory": [() => directory, "not a regular file"],
  "a-fifo": [() => fifo, "not a regular file"],
  "a-link-out": [() => link("/etc/passwd"), "outside"],
  "a-link-to-a-parent": [() => link(".."), "outside"],
  "a-dangling-link": [() => link("nowhere.safetensors"), "does not exist"],
  "a-link-to-itself": [() => link(SINGLE), "link"]
}

const singles = Object.entries(spoilt).map(([id, [change, ...says]], i): BadCase => ({
  id: `file/${id}`,
  files: () => filesOf(withShard(single(architectures[i % 3]!), { bytes: change })),
  commands: BOTH,
  says: [SINGLE, ...says]
}))

/** The second of two shards. */
const SHARD = shardName(2, 2)
const ofShards: ReadonlyArray<string> = ["empty", "header-cut", "last-byte-missing", "a-directory", "a-fifo", "a-link-out", "a-dangling-link", "git-lfs-pointer"]

const shards = ofShards.map((id, i): BadCase => ({
  id: `shard/${id}`,
  files: () => filesOf(withShard(sharded(architectures[i % 3]!), { bytes: spoilt[id]![0] }, 1)),
  commands: BOTH,
  says: [SHARD]
}))

const whole: ReadonlyArray<BadCase> = [
  { id: "directory/absent", files: () => new Map(), path: "absent", commands: ["inspect", "import", "export"], says: ["absent", "does not exist"] },
  { id: "directory/below-a-file", files: () => filesOf(single("llama")), path: "config.json/model", commands: ["inspect", "import", "export"], says: ["config.json/model"] },
  { id: "directory/empty", files: () => new Map([["there", directory]]), path: "there", commands: BOTH, says: ["there"] },
  { id: "directory/a-file", files: () => filesOf(single("qwen2")), path: "config.json", commands: ["import", "export"], says: ["config.json", "directory"] },
  { id: "directory/a-fifo", files: () => new Map([["pipe", fifo]]), path: "pipe", commands: ["inspect", "import", "export"], says: ["pipe"] },
  { id: "directory/a-dangling-link", files: () => new Map([["there", link("nowhere")]]), path: "there", commands: ["inspect", "import", "export"], says: ["there"] },
  { id: "directory/no-weights", files: () => filesOf({ ...single("qwen3"), without: [SINGLE] }), commands: BOTH, says: ["safetensors"] },
  {
    id: "directory/pickles-of-other-names",
    files: () => filesOf({ ...single("llama"), without: [SINGLE], others: [["model.pt", Buffer.from("PK\x03\x04")]] }),
    commands: ["import"],
    says: ["safetensors", "model.pt"]
  },
  {
    id: "directory/shards-without-index",
    files: () => filesOf({ ...sharded("qwen2", 3), without: ["model.safetensors.index.json"] }),
    commands: BOTH,
    says: [shardName(1, 3), "index"]
  },
  {
    id: "directory/two-indexes",
    files: () => filesOf({ ...sharded("qwen3"), indexName: "a.safetensors.index.json", others: [["b.safetensors.index.json", Buffer.from("{}")]] }),
    commands: BOTH,
    says: ["a.safetensors.index.json", "b.safetensors.index.json"]
  }
]

export const hfBadFiles: ReadonlyArray<BadCase> = [...singles, ...shards, ...whole]
