/**
 * Which of the shared towers a checkpoint has: each is built from the sections of config.json, and taken if its parameters are those
 * that stand below one prefix, with their shapes and none besides. Only towers that keep their names can be told like this.
 */
import { z } from "zod"
import type { NamePattern } from "../../src/recognise/patterns.ts"
import { FormatError } from "../../src/errors.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import { Scope } from "../../src/model/Scope.ts"
import { type Section, sectionOf } from "../shared/languageSections.ts"
import { audioEncoder, audioFields, downsamplingAudioEncoder, projectedAudioEncoder } from "../shared/towers/audio.ts"
import { clippedVision, clippedVisionFields } from "../shared/towers/clippedTowers.ts"
import { gridVision, gridVisionFields } from "../shared/towers/gridVision.ts"
import { moonVision, moonVisionFields } from "../shared/towers/moonVision.ts"
import { pairVision, pairVisionFields } from "../shared/towers/pairVision.ts"
import { pixelVision, pixelVisionFields } from "../shared/towers/pixelVision.ts"
import { windowVision, windowVisionFields } from "../shared/towers/windowVision.ts"
import { size } from "../shared/config.ts"

/** One of the shared towers, as a family calls it. */
interface Known {
  readonly file: string
  readonly name: string
  /** What its section needs: as text, with names as they are qualified in `index.ts`, and as the schema itself. */
  readonly fields: string
  readonly schema: z.ZodType
  /** Names that the text imports from the same file. */
  readonly imports: ReadonlyArray<string>
  readonly build: (path: string, section: never) => ModuleSource
  /** Further arguments of the call. */
  readonly rest?: string
}

const known = <Fields extends z.ZodRawShape>(
  file: string,
  name: string,
  [fieldsName, fields]: readonly [string, Fields],
  build: (path: string, section: z.infer<z.ZodObject<Fields>>) => ModuleSource,
  { added = {}, rest }: { readonly added?: Readonly<Record<string, readonly [text: string, type: z.ZodType]>>; readonly rest?: string } = {}
): Known => {
  const extra = Object.entries(added)
  return {
    file,
    name,
    fields: `z.looseObject(${extra.length === 0 ? `towers.${fieldsName}` : `{ ...towers.${fieldsName}, ${extra.map(([field, [text]]) => `${field}: ${text}`).join(", ")} }`})`,
    schema: z.looseObject({ ...fields, ...Object.fromEntries(extra.map(([field, [, type]]) => [field, type])) }),
    imports: [fieldsName, name],
    build: build as Known["build"],
    ...(rest === undefined ? {} : { rest })
  }
}

const output = { output_dim: ["config.size.default(3584)", size.default(3584)] } as const

const TOWERS: ReadonlyArray<Known> = [
  known("windowVision", "windowVision", ["windowVisionFields", windowVisionFields], (path, v) => windowVision(path, v, { qkv: "one" }), { rest: ", { qkv: \"one\" }" }),
  known("windowVision", "windowVision", ["windowVisionFields", windowVisionFields], (path, v) => windowVision(path, v, { qkv: "three" }), { rest: ", { qkv: \"three\" }" }),
  known("gridVision", "gridVision", ["gridVisionFields", gridVisionFields], gridVision),
  known("pairVision", "pairVision", ["pairVisionFields", pairVisionFields], pairVision),
  known("pixelVision", "pixelVision", ["pixelVisionFields", pixelVisionFields], pixelVision),
  known("moonVision", "moonVision", ["moonVisionFields", moonVisionFields], moonVision),
  { file: "clippedTowers", name: "clippedVision", fields: "towers.clippedVisionFields", schema: clippedVisionFields, imports: ["clippedVision", "clippedVisionFields"], build: clippedVision as Known["build"] },
  known("audio", "audioEncoder", ["audioFields", audioFields], audioEncoder as never, { added: { max_source_positions: ["config.size.default(1500)", size.default(1500)] } }),
  known("audio", "projectedAudioEncoder", ["audioFields", audioFields], projectedAudioEncoder as never, { added: output }),
  known("audio", "downsamplingAudioEncoder", ["audioFields", audioFields], downsamplingAudioEncoder as never, { added: { ...output, downsample_hidden_size: ["config.size.default(480)", size.default(480)] } })
]

export interface FoundTower {
  readonly kind: "images" | "audio"
  /** Section of config.json. */
  readonly section: string
  /** HF prefix, ending in a dot. */
  readonly prefix: string
  readonly tower: Known
}

const wildcard = (name: string): string => name.replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "*")

/** Patterns of a module's parameters below it, with the shape of the first. */
const patternsOf = (module: ModuleSource): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (const entry of Scope.collect((root) => module.build(root))) {
    const pattern = entry.kind === "parameter" ? wildcard(entry.name) : undefined
    if (entry.kind === "parameter" && pattern !== undefined && !found.has(pattern)) found.set(pattern, String(entry.shape))
  }
  return found
}

const built = ({ build, schema }: Known, section: Section): ReadonlyMap<string, string> | undefined => {
  const parsed = schema.safeParse(section)
  if (!parsed.success) return undefined
  try {
    return patternsOf(build("tower", parsed.data as never))
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/** The prefix below which exactly these patterns stand. */
const placeOf = (parameters: ReadonlyMap<string, string>, patterns: ReadonlyArray<NamePattern>): string | undefined => {
  const [first] = parameters.keys()
  if (first === undefined) return undefined
  return patterns
    .flatMap(({ pattern }) => (pattern.endsWith(`.${first}`) ? [pattern.slice(0, -first.length)] : []))
    .find((prefix) => {
      const below = patterns.filter(({ pattern }) => pattern.startsWith(prefix))
      return below.length === parameters.size && below.every(({ pattern, shape }) => parameters.get(pattern.slice(prefix.length)) === String(shape))
    })
}

/** Also a name that may stand in code. */
const isSection = (name: string): boolean => /^(vision|visual|audio|sound)\w*_config$/.test(name)

/** The towers among `patterns`, at most one for each section of config.json. */
export const towersIn = (config: unknown, patterns: ReadonlyArray<NamePattern>): ReadonlyArray<FoundTower> =>
  Object.entries(sectionOf(config) ?? {}).flatMap(([name, value]) => {
    const section = isSection(name) ? sectionOf(value) : undefined
    if (!section) return []
    for (const tower of TOWERS) {
      const parameters = built(tower, section)
      const prefix = parameters && placeOf(parameters, patterns)
      if (prefix !== undefined) return [{ kind: /^(audio|sound)/.test(name) ? "audio" as const : "images" as const, section: name, prefix, tower }]
    }
    return []
  })

export interface FoundProjector {
  readonly prefix: string
  readonly kind: "plain" | "linear"
  readonly bias: boolean
  /** Input, (hidden,) output. */
  readonly sizes: ReadonlyArray<number>
}

/** Projectors of one or two linear maps. */
export const projectorsIn = (patterns: ReadonlyArray<NamePattern>): ReadonlyArray<FoundProjector> => {
  const shapes = new Map(patterns.map(({ pattern, shape }) => [pattern, shape]))
  const prefixes = new Set(patterns.flatMap(({ pattern }) => /^((?:.*\.)?\w*project\w*\.)linear(?:_1)?\.weight$/.exec(pattern)?.[1] ?? []))
  return [...prefixes].flatMap((prefix): ReadonlyArray<FoundProjector> => {
    const below = patterns.filter(({ pattern }) => pattern.startsWith(prefix)).map(({ pattern }) => pattern.slice(prefix.length))
    const maps = below.includes("linear.weight") ? ["linear"] : ["linear_1", "linear_2"]
    const matrices = maps.map((name) => shapes.get(`${prefix}${name}.weight`))
    const bias = below.includes(`${maps[0]}.bias`)
    const expected = new Set(maps.flatMap((name) => [`${name}.weight`, ...(bias ? [`${name}.bias`] : [])]))
    if (matrices.some((shape) => shape?.length !== 2) || below.length !== expected.size || !below.every((name) => expected.has(name))) return []
    return [{ prefix, kind: maps.length === 1 ? "linear" : "plain", bias, sizes: [matrices[0]![1]!, ...matrices.map((shape) => shape![0]!)] }]
  })
}
