/** Configs as older libraries wrote them describe the same model to the trainer. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { toys } from "../families/toys.ts"

type Config = Readonly<Record<string, unknown>>

const isSection = (value: unknown): value is Config => typeof value === "object" && value !== null && !Array.isArray(value)

/** `rope_parameters` taken apart into what stood beside it, `dtype` under its former name; in every section. */
const older = (config: Config): Config => {
  const { dtype, rope_parameters: rope, ...rest } = config
  const out: Record<string, unknown> = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, isSection(value) ? older(value) : value]))
  if (dtype !== undefined) out["torch_dtype"] = dtype
  if (!isSection(rope)) return out
  const { full_attention: full, partial_rotary_factor: partial, rope_theta: theta, rope_type: kind, sliding_attention: sliding, ...stretch } = rope
  if (isSection(full) && isSection(sliding)) {
    // Parts of a head by kind of layer have no older spelling.
    return full["partial_rotary_factor"] === undefined
      ? { ...out, rope_theta: full["rope_theta"], rope_local_base_freq: sliding["rope_theta"] }
      : { ...out, rope_parameters: rope }
  }
  if (theta !== undefined) out["rope_theta"] = theta
  if (partial !== undefined) out["partial_rotary_factor"] = partial
  if (kind !== "axial" && Object.keys(stretch).length > 0) out["rope_scaling"] = { type: kind === "default" ? "mrope" : kind, ...stretch }
  return out
}

const newer = toys.filter(({ config }) => JSON.stringify(older(config)) !== JSON.stringify(config))

it.each(newer.map((toy) => [toy.name, toy] as const))("%s", (_, { config }) => {
  const family = families.find(config)
  const described = (c: Config) => family.describe(family.schema.parse(c), noHeaders)
  const [before, after] = [described(config), described(older(config))]
  expect(after.provider).toEqual(before.provider)
  expect(after.model).toEqual(before.model)
  expect(after.notes).toEqual(before.notes)
})
