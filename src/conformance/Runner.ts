/**
 * Runs a conformance case: regenerate its HF checkpoint, import it, compare with what the reference system wrote, export it
 * back, compare with the source. Two imports: one with the dtype that the reference used (its entries must be reproduced key by
 * key), one with every dtype kept (the round trip must give the source's bytes, whatever the reference lost; of a quantised source
 * also what it gave the reference, plain values).
 */
import { Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse as parseYaml } from "yaml"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { HF_SOURCE } from "../checkpoint/names.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { prepareExport } from "../convert/prepareExport.ts"
import { prepareImport } from "../convert/prepareImport.ts"
import type { Form } from "../mimo/routing.ts"
import type { TorchDtype } from "../plan/Options.ts"
import { verifyHfMegatron } from "../verify/verify.ts"
import { digest } from "../engine/index.ts"
import { type BridgeError, some } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { type Layout, resolveLayout, standardLayout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { torchName } from "../tensor/DType.ts"
import type { CheckpointEntry, ConformanceCase } from "./Case.ts"
import { compareModel } from "./compareModel.ts"
import { writeHfCheckpoint } from "./HfCheckpoint.ts"
import { comparePlainExport } from "./plainExport.ts"

export type CaseResult =
  | { readonly status: "passed"; readonly note: string }
  | { readonly status: "failed"; readonly problems: ReadonlyArray<string> }
  | { readonly status: "skipped"; readonly reason: string }

export const formOfCase = (c: ConformanceCase): Form => (c.import.mode === "mimo" ? "mimo" : "standard")

export const layoutOf = (c: ConformanceCase) => (names: ReadonlyArray<string>): Layout =>
  c.import.mode === "mimo"
    ? resolveLayout((c.import.components ?? []).map(parseComponent), names, c.import.worldSize === undefined ? {} : { worldSize: c.import.worldSize })
    : standardLayout({})

/** Entries that ours may have beside the reference's: source bytes, and multi-token prediction, which its MIMO model lacks. */
const isBeside = (key: string, form: Form): boolean => key.startsWith(HF_SOURCE) || (form === "mimo" && key.includes(".mtp."))

/**
 * The dtype that the reference's model had: most of its tensors have it. (For models with a `text_config` it is not always the
 * one that was asked for.)
 */
export const referenceDtype = (entries: ReadonlyMap<string, CheckpointEntry>): TorchDtype => {
  const counts = new Map<string, number>()
  for (const { dtype } of entries.values()) counts.set(dtype, (counts.get(dtype) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])[0]![0] as TorchDtype
}

const boxes = (chunks: ReadonlyArray<{ readonly offsets: ReadonlyArray<number>; readonly sizes: ReadonlyArray<number> }>): string =>
  chunks.map((c) => `${c.offsets}:${c.sizes}`).sort().join(" ")

/** Digest every tensor of a checkpoint directory, by key. */
const digestsOf = Effect.fnUntraced(function*(directory: string) {
  const store = yield* storeInUse
  const checkpoint = yield* openCheckpoint(directory)
  const chunks = new ChunkSelection(checkpoint.directory)
  for (const [key, tensor] of checkpoint.tensors) chunks.add(key, tensor.place.stored)
  const stored = yield* attempt(() => readChunks(store, chunks))
  const arrays = Array.from(checkpoint.tensors, ([key, tensor]) => ({ id: key, dtype: tensor.dtype, shape: tensor.shape, copies: () => stored.whole(tensor.place.stored, key) }))
  const digests = new Map<string, string>()
  yield* digest(arrays).pipe(Stream.runForEach(({ id, sha256 }) => Effect.sync(() => digests.set(id, sha256))))
  return { checkpoint, digests }
})

const OUTPUT = "output_layer.weight"

/**
 * A stored head that is not the embedding is lost in the reference where config.json says tied; ours is the model that
 * transformers loads, with an output layer.
 */
const losesHead = ({ hf: { tensors }, megatron }: ConformanceCase, ours: Checkpoint): boolean =>
  ours.tensors.has(OUTPUT) && !megatron!.entries.has(OUTPUT) && tensors.some((t) => t.name === "lm_head.weight")

/** Key by key: dtype, global shape, content, chunk boxes (where ranks cut), byte entries. */
const compareWithReference = Effect.fnUntraced(function*(c: ConformanceCase, directory: string) {
  const problems: Array<string> = []
  const reference = c.megatron!
  const form = formOfCase(c)
  const { checkpoint, digests } = yield* digestsOf(directory)
  for (const [key, entry] of reference.entries) {
    const ours = checkpoint.tensors.get(key)
    if (!ours) {
      problems.push(`no entry ${key}`)
      continue
    }
    const dtype = torchName(ours.dtype)
    if (dtype !== entry.dtype) problems.push(`${key}: ${dtype}, the reference has ${entry.dtype}`)
    if (String(ours.shape) !== String(entry.shape)) problems.push(`${key}: [${ours.shape}], the reference has [${entry.shape}]`)
    else if (entry.sha256 !== undefined && dtype === entry.dtype && digests.get(key) !== entry.sha256) problems.push(`${key}: other content`)
    if (form === "mimo" && boxes(ours.place.stored.chunks) !== boxes(entry.chunks.map(([offsets, sizes]) => ({ offsets, sizes })))) {
      problems.push(`${key}: cut into other chunks`)
    }
  }
  for (const key of checkpoint.tensors.keys()) {
    const kept = key === OUTPUT && losesHead(c, checkpoint)
    if (!reference.entries.has(key) && !isBeside(key, form) && !kept) problems.push(`entry ${key} is not the reference's`)
  }
  const referenceObjects = new Set<string>()
  // Many entries stand in one file.
  const files = new Map<string, Buffer>()
  for (const { keys, sha256 } of reference.bytes) {
    for (const key of keys) {
      referenceObjects.add(key)
      const object = checkpoint.metadata.objects.get(key)
      if (!object) problems.push(`no byte entry ${key}`)
      else {
        const file = files.get(object.file) ?? (yield* Effect.promise(() => readFile(join(checkpoint.directory, object.file))))
        files.set(object.file, file)
        const bytes = file.subarray(object.offset, object.offset + object.length)
        if (createHash("sha256").update(bytes).digest("hex") !== sha256) problems.push(`byte entry ${key}: other content`)
      }
    }
  }
  for (const key of checkpoint.metadata.objects.keys()) {
    if (!referenceObjects.has(key) && !isBeside(key, form)) problems.push(`byte entry ${key} is not the reference's`)
  }
  if (reference.run_config !== undefined) {
    const text = yield* Effect.promise(() => readFile(join(checkpoint.directory, "run_config.yaml"), "utf8"))
    const theirs = parseYaml(reference.run_config, YAML)["model"]
    if (losesHead(c, checkpoint)) theirs["share_embeddings_and_output_weights"] = false
    problems.push(...compareModel(parseYaml(text, YAML)["model"], theirs))
  }
  return problems
})

const YAML = { version: "1.1" } as const

/** Both directories hold the same files with the same bytes. */
export const compareDirectories = async (source: string, exported: string): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const [a, b] = await Promise.all([readdir(source), readdir(exported)])
  for (const name of new Set([...a, ...b])) {
    if (!b.includes(name)) problems.push(`export: no file ${name}`)
    else if (!a.includes(name)) problems.push(`export: file ${name} is not in the source`)
    else if (!(await readFile(join(source, name))).equals(await readFile(join(exported, name)))) problems.push(`export: ${name} differs from the source`)
  }
  return problems
}

const runInside = Effect.fnUntraced(function*(families: FamilyRegistry, c: ConformanceCase, directory: string) {
  const hf = join(directory, "hf")
  const problems: Array<string> = []
  yield* writeHfCheckpoint(c, hf)
  const importTo = (target: string, torchDtype: TorchDtype) =>
    Effect.gen(function*() {
      const prepared = yield* prepareImport(families, hf, {
        form: formOfCase(c),
        layout: layoutOf(c),
        torchDtype,
        mtp: "keep",
        allowUnmapped: [],
        step: 0
      })
      return yield* prepared.run(target, { overwrite: false })
    })

  if (c.megatron) {
    const cast = join(directory, "cast")
    yield* importTo(cast, referenceDtype(c.megatron.entries))
    problems.push(...(yield* compareWithReference(c, cast)))
  }
  const kept = join(directory, "kept")
  yield* importTo(kept, "source")
  const exported = join(directory, "exported")
  const request = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
  const plain = yield* prepareExport(families, hf, kept, request)
  if (plain.report.quantized) {
    const values = join(directory, "values")
    yield* plain.run(values, { overwrite: false })
    problems.push(...(yield* comparePlainExport(c, values, plain.report.quantized.dequantized)))
    yield* (yield* prepareExport(families, hf, kept, { ...request, restoreQuantized: {} })).run(exported, { overwrite: false })
  } else yield* plain.run(exported, { overwrite: false })
  problems.push(...(yield* Effect.promise(() => compareDirectories(hf, exported))))
  const verified = yield* verifyHfMegatron(families, hf, kept, {})
  if (verified.equal !== verified.total) {
    problems.push(`verify: ${some(verified.tensors.filter((t) => t.status !== "equal").map((t) => `${t.name} ${t.status}`))}`)
  }
  return { problems, tensors: verified.total }
})

/** Use a temporary directory that is removed afterwards. */
export const inTemporary = <A, E, R>(use: (directory: string) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "conformance-"))),
    use,
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  )

/** Run one case. */
export const runCase = (families: FamilyRegistry, c: ConformanceCase): Effect.Effect<CaseResult, never, Disk> =>
  families.architectures.includes(c.architecture)
    ? inTemporary((directory) =>
        runInside(families, c, directory).pipe(
          Effect.map(({ problems, tensors }): CaseResult =>
            problems.length === 0
              ? { status: "passed", note: `${c.megatron?.entries.size ?? 0} entries, ${tensors} tensors round trip` }
              : { status: "failed", problems }),
          Effect.catch((error: BridgeError) => Effect.succeed<CaseResult>({ status: "failed", problems: [`${error._tag}: ${error.message}`] }))
        ))
    : Effect.succeed({ status: "skipped", reason: `no family answers to ${c.architecture}` })
