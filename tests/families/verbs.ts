/**
 * Every verb over one toy model, on a file system in memory where there is one: what one of them does not know of a model, or
 * knows otherwise than its neighbours, shows here.
 */
import { Effect } from "effect"
import { deepEqual, equal as same, ok } from "node:assert/strict"
import { existsSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { families } from "../../routes/index.ts"
import { HF_SOURCE } from "../../src/checkpoint/names.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { decodeChecksums } from "../../src/publish/integrity/Checksums.ts"
import { CHECKSUMS } from "../../src/publish/integrity/names.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import {
  diffCheckpoints, Disk, examineCheckpoint, exportCheckpoint, importCheckpoint, inspectCheckpoint, relabelCheckpoint, reportCheckpoints, Unsupported, verifyCheckpoint, type TensorRow
} from "../../src/index.ts"
import type { Toy } from "./toys.ts"
import { treeOf } from "../trees.ts"

/** A directory that costs no waiting for a disk. */
export const memoryDirectory = (name: string): string => mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), `${name}-`))

const componentsOf = (toy: Toy): ReadonlyArray<string> => {
  const family = families.find(toy.config)
  return family.describe(family.schema.parse(toy.config), noHeaders).components.map((c) => c.name)
}

/** Of checksums, what they say of files and tensors: they also name their origin, which is another conversion; what is carried goes by either name. */
const contentOf = (name: string, bytes: Buffer): string => {
  if (!name.endsWith(CHECKSUMS)) return bytes.toString("base64")
  const { files, tensors } = decodeChecksums(name, bytes)
  return [...files, ...tensors].map((entry) => JSON.stringify({ ...entry, name: entry.name.replace(HF_SOURCE, "") })).sort().join()
}

const expectSameFiles = (found: string, wanted: string): void => {
  const [a, b] = [treeOf(found), treeOf(wanted)]
  deepEqual([...a.keys()], [...b.keys()])
  deepEqual([...b].filter(([name, bytes]) => contentOf(name, a.get(name)!) !== contentOf(name, bytes)).map(([name]) => name), [], `${found} differs from ${wanted}`)
}

const expectEqual = async (left: string, right: string): Promise<void> => {
  const { equal, tensors, total } = await diffCheckpoints(left, right)
  deepEqual(tensors.map((t) => `${t.kind} ${t.name}`), [], `${left} differs from ${right}`)
  same(equal, total)
}

/** Tensors and bytes per component, without what travels beside the model. */
const sumsOf = async (path: string): Promise<ReadonlyMap<string, number>> => {
  const { components } = await inspectCheckpoint(path)
  return new Map(components.filter((c) => c.name !== "hf_source").map((c) => [c.name, c.bytes]))
}

/** Names of wrapped components: those of an import that asks for them are those that relabelling gives, and every verb reads them. */
const bothRoutes = async (directory: string, hf: string, mimo: string, names: ReadonlyArray<string>): Promise<void> => {
  const [ddp, relabelled, plain, exported] = ["ddp", "relabelled-ddp", "plain", "exported-ddp"].map((name) => join(directory, name)) as [string, string, string, string]
  await importCheckpoint({ hfModel: hf, components: names.map((name) => `${name}=tp=1`) }, ddp, { loadRoute: "ddp" })
  await relabelCheckpoint(mimo, relabelled, { to: ["ddp"], link: true })
  await relabelCheckpoint(ddp, plain, { to: ["plain"], link: true })
  expectSameFiles(ddp, relabelled)
  expectSameFiles(plain, mimo)
  await expectEqual(ddp, mimo)
  const verified = await verifyCheckpoint({ hfModel: hf }, ddp)
  same(verified.equal, verified.total)
  await exportCheckpoint({ hfModel: hf }, ddp, exported)
  expectSameFiles(exported, join(directory, "exported"))
  deepEqual(await Promise.all([ddp, mimo].map(async (path) => (await inspectCheckpoint(path)).loadRoutes)), [["ddp"], ["hook"]])
}

/** Where two families would name the components differently, the model must be named, as the refusal says. */
const toMimo = async (hf: string, from: string, to: string): Promise<void> => {
  try {
    await relabelCheckpoint(from, to, { to: ["mimo"], link: true })
  } catch (error) {
    if (!(error as Error).message.includes("--hf-model DIR names the model's config.json")) throw error
    await relabelCheckpoint(from, to, { to: ["mimo"], link: true, hfModel: hf })
  }
}

/** Standard ↔ MIMO: names only, the same bytes there and back, one model whichever form is looked at. */
const bothForms = async (directory: string, hf: string, standard: string, names: ReadonlyArray<string>): Promise<void> => {
  const [mimo, asMimo, asStandard, back, forth] = ["mimo", "as-mimo", "as-standard", "back", "forth"].map((name) => join(directory, name)) as [string, string, string, string, string]
  await importCheckpoint({ hfModel: hf, components: names.map((name) => `${name}=tp=1`) }, mimo)
  await toMimo(hf, standard, asMimo)
  await relabelCheckpoint(asMimo, back, { to: ["standard"], link: true })
  await relabelCheckpoint(mimo, asStandard, { to: ["standard"], link: true })
  await toMimo(hf, asStandard, forth)
  expectSameFiles(back, standard)
  expectSameFiles(forth, mimo)
  await expectEqual(standard, mimo)
  await bothRoutes(directory, hf, mimo, names)
  await expectEqual(asMimo, mimo)
  const sums = await sumsOf(mimo)
  deepEqual([...sums.keys()].sort(), [...names].sort(), "components of the MIMO form")
  deepEqual(await sumsOf(standard), sums, "components of the two forms")
  // A tensor that travels beside the model belongs to none of its components.
  const [stored, own] = await Promise.all([mimo, hf].map(async (path) => (await inspectCheckpoint(path)).tensors)) as [ReadonlyArray<TensorRow>, ReadonlyArray<TensorRow>]
  const strangers = own.filter(({ component, name }) => !names.includes(component) && !stored.some((row) => row.role === "kept" && row.name.endsWith(name)))
  deepEqual(strangers.map(({ name }) => name), [], "components of the Hugging Face model")
}

/** Norms by the other layer specification: names only, the same bytes there and back, the same export. */
const bothSpecs = async (directory: string, hf: string, standard: string, exported: string): Promise<void> => {
  const [local, te, again] = ["local", "te", "again"].map((name) => join(directory, name)) as [string, string, string]
  try {
    await relabelCheckpoint(standard, local, { to: ["local-spec"], link: true })
  } catch (error) {
    if (!(error instanceof Unsupported) || error.code !== "unsupported/relabel") throw error
    return
  }
  await relabelCheckpoint(local, te, { to: ["te-spec"], link: true })
  expectSameFiles(te, standard)
  await expectEqual(local, standard)
  await exportCheckpoint({ hfModel: hf }, local, again)
  expectSameFiles(again, exported)
}

export const everyVerb = async (toy: Toy, directory: string): Promise<void> => {
  const [hf, standard, exported] = ["hf", "standard", "exported"].map((name) => join(directory, name)) as [string, string, string]
  await Effect.runPromise(Effect.gen(function*() {
    const disk = yield* Disk
    yield* Effect.promise(() => disk.makeDirectory(directory))
    yield* writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf)
  }).pipe(Effect.provide(Disk.layer)))
  await importCheckpoint({ hfModel: hf, standard: true }, standard)
  await exportCheckpoint({ hfModel: hf }, standard, exported)
  // Quantised weights are exported as the values they stand for; verify compares those.
  if (!("quantization_config" in toy.config)) expectSameFiles(exported, hf)
  const verified = await verifyCheckpoint({ hfModel: hf }, standard)
  same(verified.equal, verified.total)
  await expectEqual(hf, standard)
  for (const path of [hf, standard]) {
    const { found, sound } = await examineCheckpoint(path)
    deepEqual(found.filter((d) => d.severity === "error").map((d) => d.text), [], path)
    ok(sound)
  }
  const { html } = await reportCheckpoints([hf, standard])
  ok(html.endsWith("</html>\n") || html.endsWith("</html>"))
  await bothSpecs(directory, hf, standard, exported)
  const names = componentsOf(toy)
  if (names.length > 1) await bothForms(directory, hf, standard, names)
}
