/**
 * The arguments of a Megatron-LM run: an `argparse.Namespace` of some 850 names, which a trainer puts into the common state as
 * `args`. Read as data; no class is looked up. They hold paths and names of people's projects, so nothing here prints them all.
 */
import { FormatError } from "../errors.ts"
import { NAMESPACE } from "../torch/Globals.ts"
import { PickleDict, PickleGlobal, PickleList, PickleObject, type PickleValue } from "../torch/PickleValue.ts"
import { PyFloat, PyOpaque, type PyRead } from "../torch/PyValue.ts"

/** A function, class or dtype, by its dotted name (`torch.bfloat16`). */
export interface NamedArgument {
  readonly name: string
}

/** A member of an enumeration: its class by its dotted name, and its value. A pickle does not hold the member's name. */
export interface EnumArgument {
  readonly enumeration: string
  readonly value: number | string
}

export type ArgumentValue = null | boolean | number | string | PyFloat | NamedArgument | EnumArgument | ReadonlyArray<ArgumentValue>

const NAMESPACES: ReadonlySet<string> = new Set([NAMESPACE, "types SimpleNamespace"])

/** Lists of lists (a pipeline's layout) are the deepest there are. */
const DEEPEST = 8
/** Elements of one argument's list. */
const MOST_ELEMENTS = 100_000

const dotted = ({ module, name }: PickleGlobal | PickleObject): string => `${module}.${name}`

/** Undefined for what is no plain value: a dict, an instance of a class. */
const plain = (value: PickleValue, budget = { left: MOST_ELEMENTS }, depth = 0): ArgumentValue | undefined => {
  if (--budget.left < 0 || depth > DEEPEST) return undefined
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string" || value instanceof PyFloat) return value
  if (value instanceof PickleGlobal) return { name: dotted(value) }
  if (value instanceof PickleObject) {
    const [member, ...more] = value.args
    const isMember = more.length === 0 && value.state === undefined && (typeof member === "number" || typeof member === "string")
    return isMember ? { enumeration: dotted(value), value: member } : undefined
  }
  const items = value instanceof PickleList ? value.items : Array.isArray(value) ? value as ReadonlyArray<PickleValue> : undefined
  const own = items?.map((item) => plain(item, budget, depth + 1))
  return own?.every((item) => item !== undefined) ? own : undefined
}

/** The arguments of one run, by name. */
export class TrainingArguments {
  readonly #values: ReadonlyMap<string, ArgumentValue | undefined>

  constructor(values: ReadonlyMap<string, ArgumentValue | undefined>) {
    this.#values = values
  }

  get size(): number {
    return this.#values.size
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  /** Undefined: there is no such argument, or its value is an object. */
  value(name: string): ArgumentValue | undefined {
    return this.#values.get(name)
  }

  /** A number, whole or not; undefined where the argument is absent or None. FormatError for anything else. */
  number(name: string): number | undefined {
    const value = this.#values.get(name)
    if (value === undefined || value === null) return undefined
    if (value instanceof PyFloat) return value.value
    return typeof value === "number" ? value : wrong(name, "a number")
  }

  /** True or false; undefined where the argument is absent or None. FormatError for anything else. */
  flag(name: string): boolean | undefined {
    const value = this.#values.get(name)
    if (value === undefined || value === null) return undefined
    return typeof value === "boolean" ? value : wrong(name, "true or false")
  }

  /** A string; undefined where the argument is absent or None. FormatError for anything else. */
  text(name: string): string | undefined {
    const value = this.#values.get(name)
    if (value === undefined || value === null) return undefined
    return typeof value === "string" ? value : wrong(name, "a string")
  }

  /** The dotted name of a function, class or dtype. */
  named(name: string): string | undefined {
    const value = this.#values.get(name)
    return typeof value === "object" && value !== null && "name" in value ? value.name : undefined
  }
}

const wrong = (name: string, wanted: string): never => {
  throw new FormatError("arguments/value", `the argument is not ${wanted}`, { field: `args.${name}` })
}

/** Of a plain value that was read; undefined for a tensor and for what {@link plain} leaves out. */
const read = (value: PyRead): ArgumentValue | undefined => {
  if (value instanceof PyOpaque) return plain(value.contents)
  if (value === null || typeof value !== "object" || value instanceof PyFloat) return typeof value === "bigint" ? undefined : value
  const items = Array.isArray(value) ? value.map(read) : undefined
  return items?.every((item) => item !== undefined) ? items : undefined
}

/** Of a namespace, or of a dict of arguments, that was read; undefined for any other value. */
export const readArguments = (value: PyRead | undefined): TrainingArguments | undefined => {
  if (value instanceof Map) {
    const entries = [...value as ReadonlyMap<PyRead, PyRead>].flatMap(([name, item]) => (typeof name === "string" ? [[name, read(item)] as const] : []))
    return new TrainingArguments(new Map(entries))
  }
  const contents = value instanceof PyOpaque ? value.contents : undefined
  if (!(contents instanceof PickleObject) || !NAMESPACES.has(contents.global.id) || !(contents.state instanceof PickleDict)) return undefined
  const { entries } = contents.state
  const values = new Map<string, ArgumentValue | undefined>()
  for (let i = 0; i < entries.length; i += 2) {
    const [name, argument] = [entries[i], entries[i + 1]!]
    if (typeof name === "string") values.set(name, plain(argument))
  }
  return new TrainingArguments(values)
}

/** `args` of a common state, or of the dict of a legacy checkpoint; undefined where it has none. */
export const argumentsOf = (common: PyRead | undefined): TrainingArguments | undefined =>
  common instanceof Map ? readArguments((common as ReadonlyMap<PyRead, PyRead>).get("args")) : undefined
