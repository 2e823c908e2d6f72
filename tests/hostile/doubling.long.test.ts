/**
 * Twice the input is at most a little more than twice the work, for every parser: whoever writes the file must not choose the time.
 * CPU time is measured, not the clock, and inputs grow until the work is long enough to measure or the parser has refused.
 */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { matchesStars } from "../../src/plan/match.ts"
import { examineRunConfig } from "../../src/doctor/runConfigCheck.ts"
import { pythonJson } from "../../src/document/PythonJson.ts"
import { parseJson, parseJsonTree } from "../../src/document/StrictJson.ts"
import { globs } from "../../src/inspect/glob.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { quantizationConfig } from "../../src/quantized/QuantizationConfig.ts"
import { RunConfigEdit } from "../../src/runconfig/RunConfigEdit.ts"
import { parseRunConfig } from "../../src/runconfig/RunConfigFile.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { parseHeader } from "../../src/safetensors/Header.ts"
import { checkIndex, parseIndex } from "../../src/safetensors/ShardIndex.ts"
import { checkMetadata } from "../../src/torch/DcpCheck.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { readArchive } from "../../src/torch/ObjectItem.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { saveArchive } from "../../src/torch/SaveArchive.ts"
import { readDirectory } from "../../src/torch/Zip.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"
import { cpuMs } from "../measure/cpu.ts"

type Work = (n: number) => () => unknown

const list = <T>(n: number, item: (i: number) => T): Array<T> => Array.from({ length: n }, (_, i) => item(i))
const bytes = (text: string): Uint8Array => Buffer.from(text)
const over = (make: (n: number) => Uint8Array, read: (input: Uint8Array) => unknown): Work => (n) => {
  const input = make(n)
  return () => read(input)
}
const text = (make: (n: number) => string, read: (input: Uint8Array) => unknown): Work => over((n) => bytes(make(n)), read)

const json = (b: Uint8Array) => [parseJson(b, { allowNonFinite: true }), pythonJson(parseJsonTree(b, { keepFloats: true }))]
const yaml = (b: Uint8Array) => {
  const config = parseRunConfig(b)
  examineRunConfig(config, "run_config.yaml", Buffer.from(b).toString(), [])
  return new RunConfigEdit(b).toString()
}
const header = (b: Uint8Array) => parseHeader(b)
const safetensors = (n: number): Uint8Array => {
  const { fileSize, headerBytes } = encodeHeader(list(n, (i) => ({ name: `model.layers.${i}.weight`, dtype: "BF16" as const, shape: [2] })))
  return Buffer.concat([headerBytes, Buffer.alloc(fileSize - headerBytes.length)])
}
const index = (shards: number) => (n: number) => JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(list(n, (i) => [`t${i}`, `model-${i % shards}.safetensors`])) })
const readIndex = (b: Uint8Array) => {
  const read = parseIndex(b)
  checkIndex(read, [...Map.groupBy(read.weightMap, ([, file]) => file)].map(([file, own]) => ({ file, tensors: own.map(([name]) => ({ name })) })))
}
const checkpoint = (tensors: number, chunks: number): Uint8Array =>
  encodeMetadata({
    tensors: new Map(list(tensors, (i) => [`layer.${i}.weight`, {
      dtype: "BF16" as const,
      shape: [chunks, 2],
      chunks: list(chunks, (k) => ({ offsets: [k, 0], sizes: [1, 2], file: "__0_0.distcp", offset: (i * chunks + k) * 1000, length: 1000 }))
    }])),
    objects: new Map()
  } as unknown as Parameters<typeof encodeMetadata>[0])
const readCheckpoint = (b: Uint8Array) => checkMetadata(decodeMetadata(b), new Map([["__0_0.distcp", 2 ** 40]]))
const llama = (extra: object): string => JSON.stringify({ architectures: ["LlamaForCausalLM"], hidden_size: 64, intermediate_size: 128, num_attention_heads: 4, num_hidden_layers: 2, vocab_size: 100, ...extra })
const describeConfig = (b: Uint8Array) => {
  const config = parseJson(b)
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders)
}

const parsers: Readonly<Record<string, Work>> = {
  "JSON: keys": text((n) => JSON.stringify(Object.fromEntries(list(n, (i) => [`k${i}`, i]))), json),
  "JSON: lists": text((n) => JSON.stringify(list(n, (i) => [i])), json),
  "JSON: a long text with escapes": text((n) => JSON.stringify("\u0001é\n".repeat(n)), json),
  "JSON: a long number": text((n) => `[${"1".repeat(n)}]`, json),
  "JSON: blanks": text((n) => `[${" \n".repeat(n)}1]`, json),
  "YAML: keys": text((n) => `a:\n${list(n, (i) => `  k${i}: ${i}\n`).join("")}`, yaml),
  "YAML: explicit keys": text((n) => list(n, (i) => `? k${i}\n`).join(""), yaml),
  "YAML: keys in one line": text((n) => `a: {${list(n, (i) => `k${i}: 1`).join(", ")}}\n`, yaml),
  "YAML: lists of mappings": text((n) => `a:\n${"- x: 1\n  y: 2\n".repeat(n)}`, yaml),
  "YAML: blank lines": text((n) => `a: 1\n${"\n".repeat(n)}b: 2\n`, yaml),
  "YAML: comments": text((n) => `a: 1\n${"# c\n".repeat(n)}b: 2\n`, yaml),
  "YAML: text in many lines": text((n) => `a: |\n${"  text\n".repeat(n)}b: "x${"\n  text".repeat(n)}"\n`, yaml),
  "YAML: anchors": text((n) => `a:\n${list(n, (i) => `- &x${i} 1\n`).join("")}`, yaml),
  "YAML: aliases behind much else": text((n) => `b: &b 1\nc:\n${"- 1\n".repeat(n)}a:\n${"- *b\n".repeat(Math.min(n, 900))}`, yaml),
  "YAML: errors": text((n) => `a: 1\n${"]\n".repeat(n)}`, yaml),
  "YAML: documents": text((n) => `a: 1\n${"---\nb: 1\n".repeat(n)}`, yaml),
  "safetensors header": over(safetensors, header),
  "shard index, two shards": text(index(2), readIndex),
  "shard index, a shard per tensor": text(index(1e9), readIndex),
  "pickle in an archive: a dictionary": over((n) => saveArchive("a", new Map(list(n, (i) => [`k${i}`, i]))), readArchive),
  "pickle in an archive: a long text": over((n) => saveArchive("a", ["x".repeat(n)]), readArchive),
  "zip directory": over((n) => archiveOf(list(n, (i) => ({ name: `a/${i}`, content: bytes("x") }))), (b) => parseBytes(b, readDirectory(b.length))),
  "DCP metadata: tensors": over((n) => checkpoint(n, 1), readCheckpoint),
  "DCP metadata: chunks of one tensor": over((n) => checkpoint(1, n), readCheckpoint),
  "config: unknown fields": text((n) => llama(Object.fromEntries(list(n, (i) => [`k${i}`, i]))), describeConfig),
  "config: quantization targets": (n) => {
    const config = { quantization_config: { quant_method: "fp8", modules_to_not_convert: list(n, (i) => `m${i}`) } }
    return () => quantizationConfig(config)
  },
  "pattern of many stars": (n) => () => matchesStars(`${"a*".repeat(20)}b`, "a".repeat(n)),
  "globs": (n) => {
    const matches = globs(["**.layers.*.weight", "*a*a*a*"])
    return () => matches("a".repeat(n))
  },
  "component flag": (n) => () => parseComponent(`language=${"tp=2,".repeat(n)}`)
}

const refuses = (work: () => unknown): boolean => {
  try {
    work()
    return false
  } catch {
    return true
  }
}
/** CPU milliseconds; a refusal is an answer too. */
const least = (work: () => unknown): number => Math.min(...[1, 2].map(() => cpuMs(() => refuses(work))))

/** Long enough that fixed costs vanish. */
const MEASURABLE_MS = 5
/** Four times the input: 4 times the work if linear, 16 if quadratic. */
const MOST = 9

/** How much longer four times as much takes. Whatever else the machine does makes single looks longer: the best of several. */
const growth = (work: Work, n: number): number => {
  let best = Infinity
  for (let looks = 0; looks < 8 && best >= MOST; looks++) best = Math.min(best, least(work(n * 4)) / least(work(n)))
  return best
}

it.each(Object.entries(parsers))("%s", (_, work) => {
  let n = 1000
  // Whatever needs less for this much may grow as it likes: it ends at the parser's own limit.
  while (least(work(n)) < MEASURABLE_MS) if ((n *= 4) > 64_000) return
  // What outgrows the young generation of the heap costs a step, once (measured: 9.2); a power of the size is met at every size.
  const grown = growth(work, n)
  if (grown >= MOST && !refuses(work(n * 16))) expect(growth(work, n * 4)).toBeLessThan(MOST)
  else expect(grown).toBeLessThan(MOST)
})
