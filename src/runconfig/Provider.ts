/**
 * The provider section of `run_config.yaml`: the class from which the trainer rebuilds the model and the fields that differ
 * from its defaults. Values are plain data; {@link PythonValue} covers the objects that the reference's YAML can name.
 */
export type PythonValue =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<PythonValue>
  | { readonly [field: string]: PythonValue }
  | Float
  | PythonName
  | PythonObject

/** A number that must read back as a float even if it is whole (`1.0`). */
export interface Float {
  readonly $float: number
}

/** A function, class or dtype by its dotted name; written as `{_call_: false, _target_: name}`. */
export interface PythonName {
  readonly $name: string
}

/** An instance of a dataclass or config class; written as `_target_` and its fields. */
export interface PythonObject {
  readonly $class: string
  readonly fields: { readonly [field: string]: PythonValue }
}

/** A number that is written as a float (`1.0`), also where it is whole. */
export const float = (value: number): Float => ({ $float: value })
/** A Python function, class or dtype by its dotted name. */
export const pythonName = (name: string): PythonName => ({ $name: name })
/** An instance of a Python class, by the class's dotted name and its fields. */
export const pythonObject = (name: string, fields: PythonObject["fields"]): PythonObject => ({ $class: name, fields })

/** A function with some of its arguments set (`functools.partial`). */
export const pythonPartial = (name: string, keywords: PythonObject["fields"]): PythonObject =>
  pythonObject(name, { _args_: [], _partial_: true, ...keywords })

/** A member of an enumeration class, by name and value. */
export const pythonEnum = (name: string, member: string, value: number): PythonObject =>
  pythonObject(name, { _args_: [value], _call_: true, _name_: member })

/** The model section of `run_config.yaml`: the class that builds the model in the trainer, and its fields. */
export interface Provider {
  /** Dotted class name of the standard provider. */
  readonly target: string
  readonly fields: { readonly [field: string]: PythonValue }
  /** The reference has a MIMO provider that builds from this standard provider. */
  readonly mimo?: boolean
  /** What this class cannot do, whatever TransformerConfig allows. */
  readonly refuses?: ReadonlyArray<ProviderLimit>
}

/**
 * `padded-vocabulary`: the class builds `vocab_size` rows and ignores `should_pad_vocab`; `pipeline`: it has one stage;
 * `context`: it has no context parallelism; `more-tp-than-groups`: it cannot share a key/value group among ranks.
 */
export type ProviderLimit = "padded-vocabulary" | "pipeline" | "context" | "more-tp-than-groups"

/** A value as `run_config.yaml` has it once it is read: names and objects as mappings. */
const asParsed = (value: PythonValue): PythonValue => {
  if (value === null || typeof value !== "object" || "$float" in value) return value
  if (Array.isArray(value)) return (value as ReadonlyArray<PythonValue>).map(asParsed)
  if ("$name" in value) return { _call_: false, _target_: value.$name as string }
  if ("$class" in value) return { ...parsedFields((value as PythonObject).fields), _target_: (value as PythonObject).$class }
  return parsedFields(value as PythonObject["fields"])
}

const parsedFields = (fields: PythonObject["fields"]): PythonObject["fields"] =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, asParsed(value)]))

/** The `model` section of a provider, as `run_config.yaml` has it once it is read. */
export const parsedSection = ({ fields, target }: Provider): PythonObject["fields"] => ({ ...parsedFields(fields), _target_: target })
