/** What stands beside the language model, as lines of the generated file: encoders and projectors that the shared ones are. */
import type { NamePattern } from "../../src/recognise/patterns.ts"
import { type Section, sectionOf } from "../shared/languageSections.ts"
import { literal } from "./layer.ts"
import { type FoundProjector, type FoundTower, projectorsIn, towersIn } from "./towers.ts"

/** Encoders and projectors beside the language model. */
export interface Beside {
  readonly towers: ReadonlyArray<FoundTower>
  readonly projectors: ReadonlyArray<FoundProjector>
}

/** The section that holds the text section and those of the encoders. */
export const outerSection = (config: unknown, path: ReadonlyArray<string>): Section =>
  path.slice(0, -1).reduce((section, name) => sectionOf(section[name]) ?? {}, sectionOf(config) ?? {})

/** Without a text section of its own, a tower has no place in the schema that is written. */
export const besideOf = (config: unknown, path: ReadonlyArray<string>, patterns: ReadonlyArray<NamePattern>): Beside => {
  const towers = path.length === 0 ? [] : towersIn(outerSection(config, path), patterns)
  return { towers, projectors: towers.length === 0 ? [] : projectorsIn(patterns) }
}

/** A path in the Megatron model: the last part of the HF prefix. */
export const moduleName = (prefix: string): string => prefix.split(".").at(-2) ?? prefix

/** What a section is called in `describe`. */
export const variableOf = ({ kind }: FoundTower): string => (kind === "images" ? "v" : "a")

/** A size of this checkpoint as config.json has it, or as the number that it is. */
const sizeText = (value: number, text: Section, towers: ReadonlyArray<FoundTower>, outer: Section): string => {
  const places = [["t", text] as const, ...towers.map((tower) => [variableOf(tower), sectionOf(outer[tower.section]) ?? {}] as const)]
  for (const [name, section] of places) {
    const field = ["hidden_size", "d_model"].find((own) => section[own] === value)
    if (field !== undefined) return `${name}.${field}`
  }
  return String(value)
}

export const modulesText = ({ projectors, towers }: Beside, text: Section, outer: Section): ReadonlyArray<string> => [
  ...towers.map((found) => `towers.${found.tower.name}(${literal(moduleName(found.prefix))}, ${variableOf(found)}${found.tower.rest ?? ""})`),
  ...projectors.map(({ bias, kind, prefix, sizes }) => {
    const [input, ...more] = sizes.map((value) => sizeText(value, text, towers, outer))
    return kind === "linear"
      ? `projectors.linearProjector(${literal(moduleName(prefix))}, "linear", { input: ${input}, output: ${more[0]} }, { bias: ${bias} })`
      : `projectors.plainProjector(${literal(moduleName(prefix))}, { input: ${input}, hidden: ${more[0]}, output: ${more[1]} }, { bias: ${bias} })`
  })
]

export const componentsText = ({ projectors, towers }: Beside): string =>
  `multimodal.languageAnd(${towers.map(({ kind, prefix }, i) => `{ name: "${kind}", sourcePrefix: ${literal(`${moduleName(prefix)}.`)}, encoder: ${literal(moduleName(prefix))}${i === 0 && projectors.length > 0 ? `, projectors: [${projectors.map((p) => literal(`${moduleName(p.prefix)}.`)).join(", ")}]` : ""} }`).join(", ")})`
