/** Small checkpoints to relabel, examine and compare: written by this project's own importer from generated models. */
import { Effect } from "effect"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk, importCheckpoint, resolveLayout } from "../../src/index.ts"
import { prepareRelabel, type RelabelReport, type RelabelRun } from "../../src/relabel/relabel.ts"
import type { RelabelTo } from "../../src/relabel/rules/index.ts"
import { decodeMetadata, type DcpMetadata } from "../../src/torch/DcpMetadata.ts"
import { loadCase } from "../conformance/cases.ts"

export const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))

/** A directory for one test file, removed afterwards. */
export const workDirectory = (name: string): string => {
  const work = mkdtempSync(join(tmpdir(), `${name}-`))
  afterAll(() => rmSync(work, { recursive: true, force: true }))
  return work
}

/** The tiny multimodal sample. */
export const sampleModel = async (work: string, name: "qwen3.5-vl" | "qwen3.5-vl-moe" = "qwen3.5-vl"): Promise<string> => {
  const path = join(work, `hf-${name}`)
  if (!existsSync(path)) await run(writeSample(families, samples[name]!.tiny, path, { overwrite: false }))
  return path
}

/** The Hugging Face model of a conformance case. */
export const caseModel = async (work: string, name: string): Promise<string> => {
  const path = join(work, `hf-${name}`)
  if (!existsSync(path)) await run(writeHfCheckpoint(loadCase(name), path))
  return path
}

let number = 0
export const fresh = (work: string): string => join(work, `out-${number++}`)

/** Import a model to a new place. */
export const imported = async (work: string, request: Parameters<typeof importCheckpoint>[0]): Promise<string> => {
  const path = fresh(work)
  await importCheckpoint(request, path)
  return path
}

export interface Relabelled {
  readonly path: string
  readonly report: RelabelReport
}

export const relabelled = async (
  work: string,
  source: string,
  to: ReadonlyArray<RelabelTo>,
  options: Partial<RelabelRun> & { readonly hfModel?: string } = {}
): Promise<Relabelled> => {
  const path = fresh(work)
  const { hfModel, ...rest } = options
  const report = await run(Effect.gen(function*() {
    const prepared = yield* prepareRelabel(families, source, {
      to,
      layout: (names) => resolveLayout([], names),
      ...(hfModel === undefined ? {} : { hfModel })
    })
    return yield* prepared.run(path, { link: false, overwrite: false, ...rest })
  }))
  return { path, report }
}

/** The iteration folder of a checkpoint. */
export const folderOf = (path: string): string => join(path, readdirSync(path).find((name) => name.startsWith("iter_"))!)

export const metadataOf = (path: string): DcpMetadata => decodeMetadata(readFileSync(join(folderOf(path), ".metadata")))

/** Data files and their content. */
export const dataFiles = (path: string): ReadonlyMap<string, Buffer> =>
  new Map(readdirSync(folderOf(path)).filter((name) => name.endsWith(".distcp")).sort().map((name) => [name, readFileSync(join(folderOf(path), name))]))

export const makeDirectory = (path: string): string => {
  mkdirSync(path, { recursive: true })
  return path
}
