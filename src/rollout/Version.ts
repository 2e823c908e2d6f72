/**
 * One version of weights, as its index describes it: a full model, or what differs from the version before. The layout is that of receivers
 * in use; what this tool adds stands in `metadata`, where they do not look: the state of the whole model before and after, and the
 * checksums that show a wrong base, or a damaged file, before anything is touched.
 */
import { Effect } from "effect"
import { join } from "node:path"
import { z } from "zod"
import { decodeJson } from "../document/decode.ts"
import { pythonJson } from "../document/PythonJson.ts"
import type { JsonTree } from "../document/StrictJson.ts"
import { encodeUtf8 } from "../document/utf8.ts"
import { InvalidFile, Unsupported } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { hasErrno } from "../store/present.ts"
import type { Store } from "../store/Store.ts"
import { CHECKSUM, type ChecksumFormat, isChecksumFormat } from "./checksums.ts"
import { type DeltaEncoding, encodings } from "./DeltaWriter.ts"
import { versionFolder, versionOf, versionText } from "./names.ts"

const LARGEST_INDEX = 100_000_000
const MOST_VALUES = 6_000_000

const number = z.string().regex(/^\d{1,15}$/).transform(Number)
const sum = z.string().regex(/^[0-9a-f]{8,64}$/)
const sums = z.record(z.string(), sum)
const file = z.string().regex(/^[^/\\:\p{Cc}]{1,243}\.safetensors$/u)

const indexSchema = z.object({
  metadata: z.object({
    version: number.optional(),
    base_version: number.optional(),
    delta_encoding: z.string().max(64).optional(),
    compression_format: z.string().max(64).optional(),
    checksum_format: z.string().max(64).optional(),
    state: sum.optional(),
    base_state: sum.optional(),
    checksums: sums.optional(),
    base_checksums: sums.optional(),
    layouts: z.record(z.string(), z.string().max(4096)).optional(),
    file_checksums: z.record(file, sum).optional(),
    source: z.string().max(4096).optional(),
    source_files: sum.optional()
  }).default({}),
  weight_map: z.record(z.string(), z.string().max(4096))
})

/** What both kinds of versions say. */
interface Described {
  readonly version: number
  readonly directory: string
  /** Sum of the whole model in this version; absent if another program has written it. */
  readonly state?: string
  /** What it was made from. */
  readonly source?: string
  /** Which files those were, as `baseSums.ts` has it. */
  readonly sourceFiles?: string
}

export interface FullVersion extends Described {
  readonly kind: "full"
  /** Of every tensor, XXH3-128. */
  readonly checksums?: Readonly<Record<string, string>>
}

export interface DeltaVersion extends Described {
  readonly kind: "delta"
  readonly base: number
  readonly encoding: DeltaEncoding
  readonly checksum: ChecksumFormat
  /** Tensor → shard. */
  readonly weightMap: Readonly<Record<string, string>>
  readonly baseState?: string
  /** Of the changed tensors as they were. */
  readonly baseChecksums?: Readonly<Record<string, string>>
  /** `BF16 [2,3]` */
  readonly layouts?: Readonly<Record<string, string>>
  /** Of the shards. */
  readonly fileChecksums?: Readonly<Record<string, string>>
}

export type Version = FullVersion | DeltaVersion

const supported = <T extends string>(path: string, what: string, given: string | undefined, known: (name: string) => name is T): T => {
  if (given !== undefined && known(given)) return given
  throw new Unsupported({ code: "unsupported/rollout-version", what: path, problem: given === undefined ? `does not say its ${what}` : `has the ${what} ${given}, which is not known here` })
}

const isEncoding = (name: string): name is DeltaEncoding => (encodings as ReadonlyArray<string>).includes(name)
const isZstd = (name: string): name is "zstd" => name === "zstd"

/** Fields that are there. */
export const withoutUndefined = <T extends object>(fields: T): { readonly [K in keyof T as T[K] extends undefined ? never : K]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const described = (root: string, version: number, path: string, bytes: Uint8Array): Version => {
  const { metadata: m, weight_map: weightMap } = decodeJson(indexSchema, path, bytes, { maxBytes: LARGEST_INDEX, maxValues: MOST_VALUES })
  const directory = join(root, versionFolder(version))
  if (m.version !== undefined && m.version !== version) {
    throw new InvalidFile({ path, code: "rollout/swapped", problem: `says that it is version ${m.version}`, hint: "Directories were renamed or swapped; publish a full version." })
  }
  const both = { version, directory, ...withoutUndefined({ state: m.state, source: m.source, sourceFiles: m.source_files }) }
  if (m.delta_encoding === undefined) return { kind: "full", ...both, ...withoutUndefined({ checksums: m.checksums }) }
  if (m.base_version === undefined) throw new InvalidFile({ path, code: "rollout/no-base", problem: "is a delta and does not say against which version" })
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (!file.safeParse(shard).success) throw new InvalidFile({ path, code: "rollout/shard-name", problem: "places a tensor in what is no file beside it", place: { tensor } })
  }
  supported(path, "compression", m.compression_format, isZstd)
  return {
    kind: "delta",
    ...both,
    base: m.base_version,
    encoding: supported(path, "delta encoding", m.delta_encoding, isEncoding),
    checksum: supported(path, "checksum", m.checksum_format, isChecksumFormat),
    weightMap,
    ...withoutUndefined({ baseState: m.base_state, baseChecksums: m.base_checksums, layouts: m.layouts, fileChecksums: m.file_checksums })
  }
}

/** Versions that are there, ascending. A folder without an index counts: it may be a full version of one file. */
export const listVersions = async (store: Store, root: string): Promise<ReadonlyArray<number>> => {
  const names = await store.list(root).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
  return names.flatMap((name) => versionOf(name) ?? []).sort((a, b) => a - b)
}

/** Read what a version says of itself. InvalidFile `rollout/missing-version` and others; Unsupported for an encoding that is not known. */
export const readVersion = Effect.fnUntraced(function*(root: string, version: number) {
  const store = yield* storeInUse
  return yield* reading(async (): Promise<Version> => {
    const directory = join(root, versionFolder(version))
    const path = join(directory, INDEX_NAME)
    const bytes = await readSmall(store, path, path, LARGEST_INDEX).catch(async (error: unknown) => {
      if (!hasErrno(error, "ENOENT", "ENOTDIR")) throw error
      await store.stat(directory).catch((missing: unknown): never => {
        if (!hasErrno(missing, "ENOENT", "ENOTDIR")) throw missing
        throw new InvalidFile({ path: directory, code: "rollout/missing-version", problem: `there is no version ${version}`, hint: "Publish a full version, or name one that is there." })
      })
      return undefined
    })
    if (bytes === undefined) return { kind: "full", version, directory }
    return described(root, version, path, bytes)
  })
})

const mapOf = (entries: Iterable<readonly [string, string]>): ReadonlyMap<string, JsonTree> => new Map(entries)

/** Of a delta. */
export interface DeltaFacts {
  readonly version: number
  readonly base: number
  readonly encoding: DeltaEncoding
  readonly state: string
  readonly baseState: string
  readonly baseChecksums: ReadonlyMap<string, string>
  readonly layouts: ReadonlyMap<string, string>
  readonly fileChecksums: ReadonlyMap<string, string>
  readonly weightMap: ReadonlyMap<string, string>
  readonly source: string
  readonly sourceFiles: string | undefined
}

/** Where a version comes from. */
const origin = ({ source, sourceFiles }: Pick<DeltaFacts, "source" | "sourceFiles">): ReadonlyArray<readonly [string, JsonTree]> =>
  [["source", source], ...(sourceFiles === undefined ? [] : [["source_files", sourceFiles] as const])]

export const encodeDeltaIndex = (d: DeltaFacts): Uint8Array =>
  encodeUtf8(`${pythonJson(new Map<string, JsonTree>([
    ["metadata", new Map<string, JsonTree>([
      ["version", versionText(d.version)],
      ["base_version", versionText(d.base)],
      ["delta_encoding", d.encoding],
      ["compression_format", "zstd"],
      ["checksum_format", CHECKSUM],
      ["state", d.state],
      ["base_state", d.baseState],
      ["base_checksums", mapOf(d.baseChecksums)],
      ["layouts", mapOf(d.layouts)],
      ["file_checksums", mapOf(d.fileChecksums)],
      ...origin(d)
    ])],
    ["weight_map", mapOf(d.weightMap)]
  ]))}\n`)

/** What is added to the metadata of a full version's index. */
export const fullMetadata = ({ checksums, state, version, ...from }: Pick<DeltaFacts, "version" | "state" | "source" | "sourceFiles"> & { readonly checksums: ReadonlyMap<string, string> }): ReadonlyMap<string, JsonTree> =>
  new Map<string, JsonTree>([["version", versionText(version)], ["checksum_format", CHECKSUM], ["state", state], ["checksums", mapOf(checksums)], ...origin(from)])
