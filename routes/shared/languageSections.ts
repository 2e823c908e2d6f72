/** The sections of a config.json that are about the language model, from the outside in. */
export type Section = { readonly [key: string]: unknown }

export const sectionOf = (value: unknown): Section | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Section : undefined

const NAMES = ["thinker_config", "text_config", "llm_config", "language_config"]

/** The name of the section inside this one that is more about the language model. */
export const innerSection = (section: Section): string | undefined => NAMES.find((name) => sectionOf(section[name]))

/** Each with the path that leads to it, empty or ending in a dot; the first is the whole config. */
export const languageSections = (config: Section, path = ""): ReadonlyArray<readonly [path: string, section: Section]> => {
  const inner = innerSection(config)
  return [[path, config], ...(inner === undefined ? [] : languageSections(config[inner] as Section, `${path}${inner}.`))]
}
