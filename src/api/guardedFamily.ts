/** Code of the user's that describes models, kept apart from this program's own: its mistakes are its own, and say so. */
import type { Family, ModelDescription } from "../bridge/Family.ts"
import type { MappingKind, Row } from "../bridge/Mapping.ts"
import { FormatError, InvalidFile, isBridgeError, quote } from "../errors.ts"

const EXPECTED = "A family file is a JavaScript or TypeScript module (.js, .mjs, .ts, .mts) that exports families, `export const mine = family({ … })` with `family` of megatron-mimo-bridge/family, or `mimoRoutes`. docs/adding-a-family.md shows one."

/** What is wrong with a family file. */
export const badFamily = (path: string, code: string, problem: string, hint = EXPECTED): InvalidFile =>
  new InvalidFile({ path, code: `family/${code}`, problem, hint })

/** The first line of an error of any kind. */
export const said = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n")[0]!.slice(0, 500)

/** Errors of another copy of this package have other classes, and the same fields. */
const isFormatError = (error: unknown): error is FormatError =>
  error instanceof Error && error.name === "FormatError" && typeof (error as { readonly code?: unknown }).code === "string"

/** Run code of the file: what it says of a model stays that, everything else is a mistake in the file. */
export const guarded = <A>(path: string, family: string, run: () => A): A => {
  try {
    return run()
  } catch (error) {
    if (isFormatError(error)) throw new FormatError(error.code, error.message, error.place)
    if (error instanceof RangeError || isBridgeError(error)) throw error
    throw badFamily(path, "failed", `the family ${quote(family)} failed: ${said(error)}`, "This is in the code of the file.")
  }
}

const guardedKind = (path: string, family: string, kind: MappingKind): MappingKind => ({
  ...kind,
  relate: (parameter, names, captures) => guarded(path, family, () => kind.relate(parameter, names, captures))
})

/** A schema that answers as zod's do, or says which file it is of. */
const guardedSchema = (path: string, { name, schema }: Family): Family["schema"] =>
  Object.create(schema, {
    safeParse: {
      value: (data: unknown) => guarded(path, name, () => {
        const answer = schema.safeParse(data)
        if (!answer.success && !Array.isArray((answer as { readonly error?: { readonly issues?: unknown } }).error?.issues)) throw new TypeError("its schema refuses without saying why")
        return answer
      })
    }
  }) as Family["schema"]

const described = (path: string, family: Family, description: ModelDescription): ModelDescription => {
  for (const slot of ["model", "modules", "rows", "components", "carried"] as const) {
    if (!Array.isArray(description[slot])) throw badFamily(path, "failed", `the family ${quote(family.name)} describes models without ${slot}`, "Make it with `family({ … })` of megatron-mimo-bridge/family, in the version of this program.")
  }
  return {
    ...description,
    rows: description.rows.map((row): Row => ({ ...row, kind: guardedKind(path, family.name, row.kind) })),
    notes: [...(description.notes ?? []), `the family ${family.name} is code of ${path}`]
  }
}

/** The family, whose code cannot make this program crash. */
export const guardedFamily = (path: string, family: Family): Family => ({
  ...family,
  schema: guardedSchema(path, family),
  describe: (config, headers) => guarded(path, family.name, () => described(path, family, family.describe(config, headers)))
})
