/**
 * Whether the head of a language model is its embedding: one rule for all families and all nestings of config.json, what
 * transformers 5 does. The flags say what is meant, the tensors what is there:
 *
 * - head and embedding are stored: the outermost flag decides (the class's default where there is none), and a head that turns
 *   out to be another matrix is a head of its own whatever the flags say;
 * - only one of the two is stored: any flag that says tied makes it both;
 * - an export asks the trained checkpoint, which has an output layer or not.
 */
import { type Carried, type Family, type HfHeaders, type ModelDescription, redescribed, type TieFlag, type Vocabulary } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { innerSection, languageSections, type Section, sectionOf } from "./languageSections.ts"

const flagsOf = (config: unknown, name: string): ReadonlyArray<TieFlag> => {
  const top = sectionOf(config)
  return top === undefined ? [] : languageSections(top).flatMap(([path, section]) =>
    typeof section[name] === "boolean" ? [{ path: path + name, tied: section[name] }] : [])
}

/** The config with all flags set, also those that it leaves to a default. */
const saying = (section: Section, flag: string, tied: boolean): Section => {
  const inner = innerSection(section)
  return {
    ...section,
    ...(inner === undefined ? {} : { [inner]: saying(section[inner] as Section, flag, tied) }),
    [flag]: tied
  }
}

/** `said`: by any flag, or else by the default of the model's class. */
const isTied = (said: NonNullable<Vocabulary["said"]>, { embedding, head }: Vocabulary, headers: HfHeaders): boolean => {
  if (headers.ownHead !== undefined) return said.tied && !headers.ownHead
  const both = headers.tensor(embedding) !== undefined && headers.tensor(head) !== undefined
  return both || headers.names.length === 0 ? said.flags[0]?.tied ?? said.tied : said.tied
}

const contradiction = (flags: ReadonlyArray<TieFlag>, tied: boolean): ReadonlyArray<string> =>
  new Set(flags.map((flag) => flag.tied)).size < 2
    ? []
    : [`config.json contradicts itself: ${flags.map((flag) => `${flag.path} is ${flag.tied}`).join(", ")}; by the stored tensors the head is ${tied ? "the embedding" : "a matrix of its own"}`]

/** One matrix stands for both, under the name that the checkpoint has. */
const storedOnce = (rows: ReadonlyArray<Row>, carried: ReadonlyArray<Carried>, { embedding, head }: Vocabulary) => {
  const renamed = ({ hf, spelling }: Row) => {
    const published = (name: string) => spelling?.published(name) ?? name
    return hf.map((name) => (name === published(embedding) ? published(head) : name))
  }
  return {
    rows: rows.map((row) => ({ ...row, hf: renamed(row) })),
    carried: carried.map((rule) => (rule.alias === embedding ? { ...rule, alias: head } : rule))
  }
}

const described = (family: Family, config: unknown, headers: HfHeaders): ModelDescription => {
  const asRead = family.describe(config, headers)
  if (!asRead.vocabulary) return asRead
  const { flag = "tie_word_embeddings", tied: asDefault } = asRead.vocabulary
  const flags = flagsOf(config, flag)
  const said = { flags, tied: flags.length === 0 ? asDefault : flags.some((own) => own.tied) }
  const tied = isTied(said, asRead.vocabulary, headers)
  const description = tied === asDefault ? asRead : family.describe(saying(sectionOf(config)!, flag, tied), headers)
  const vocabulary: Vocabulary = { ...description.vocabulary!, said }
  if (vocabulary.tied !== tied) throw new RangeError(`${family.name} does not go by its tie flag`)
  const { embedding, head } = vocabulary
  const onlyHead = tied && headers.tensor(embedding) === undefined && headers.tensor(head) !== undefined
  return {
    ...description,
    vocabulary,
    ...(onlyHead
      ? storedOnce(description.rows, description.carried, vocabulary)
      // A head that is stored although it is the embedding.
      : { carried: tied ? [{ pattern: head, alias: embedding, why: "the embedding serves as the head" }, ...description.carried] : description.carried }),
    notes: [...(description.notes ?? []), ...contradiction(flags, tied)]
  }
}

/** The same family, with a head that is the embedding where this rule says so. */
export const withTieRule = (family: Family): Family => redescribed(family, (config, headers) => described(family, config, headers))
