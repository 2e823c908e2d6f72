/**
 * What in a run configuration keeps the reference from building its model: classes it refuses, classes that have moved, values
 * that PyYAML or OmegaConf read otherwise than they were meant (torch-dist-format.md F.4).
 */
import type { PythonValue } from "../runconfig/Provider.ts"
import { basename } from "node:path"
import { quote } from "../errors.ts"
import { isMapping, providerOf, type RunConfigMap, textAt } from "../runconfig/RunConfigFile.ts"
import { REQUIRED_SIZES } from "../runconfig/parallelism.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { shell } from "../checkpoint/shell.ts"

/** What the reference imports from; anything else it refuses (Megatron-Bridge 0.7, utils/instantiate_utils.py). */
const ALLOWED = ["megatron.", "torch.", "nvidia.", "transformers.", "numpy.", "nemo.", "signal."]
const ALLOWED_EXACTLY = new Set(["functools.partial"])
/** What it refuses to call although its module is allowed: whatever loads. */
const DENIED = /^torch\.load$|\.from_pretrained$/
const PRIVATE_BUT_ALLOWED = new Set(["torch._C._nn.gelu"])

/** Modules that were renamed: the beginning of a class's dotted name, and what it is now. */
const MOVED: ReadonlyArray<readonly [from: string, to: string]> = [
  ["megatron.hub.", "megatron.bridge."],
  ["nemo_lm.", "megatron.bridge."],
  ["megatron.bridge.models.mamba.mamba_provider.", "megatron.bridge.models.hybrid.hybrid_provider."]
]

interface ConfiguredTarget {
  readonly path: string
  readonly name: string
  readonly map: RunConfigMap
}

function* targets(value: PythonValue, path: string): Generator<ConfiguredTarget> {
  if (Array.isArray(value)) {
    for (const [i, item] of (value as ReadonlyArray<PythonValue>).entries()) yield* targets(item, `${path}[${i}]`)
  } else if (isMapping(value)) {
    const name = textAt(value, "_target_")
    if (name !== undefined) yield { path, name, map: value }
    for (const [field, item] of Object.entries(value)) yield* targets(item, path === "" ? field : `${path}.${field}`)
  }
}

/** Strings anywhere below a value. */
function* texts(value: PythonValue, path: string): Generator<readonly [path: string, text: string]> {
  if (typeof value === "string") yield [path, value]
  else if (Array.isArray(value)) for (const [i, item] of (value as ReadonlyArray<PythonValue>).entries()) yield* texts(item, `${path}[${i}]`)
  else if (isMapping(value)) for (const [field, item] of Object.entries(value)) yield* texts(item, path === "" ? field : `${path}.${field}`)
}

const lastName = (name: string): string => name.slice(name.lastIndexOf(".") + 1)

/** Replace a class by another, everywhere in the file. */
const renamed = (file: string, from: string, to: string) => ({
  fix: `Write ${quote(to)} there.`,
  command: /^[\w.]+$/.test(from + to) ? shell("sed", "-i", `s/_target_: ${from.replaceAll(".", "\\.")}$/_target_: ${to}/`, file) : undefined
})

/**
 * `file`: its path; `text`: of the file; `providers`: dotted names of the provider classes that are known here, to notice one that moved.
 */
export const examineRunConfig = (config: RunConfigMap, file: string, text: string, providers: Iterable<string>): ReadonlyArray<Diagnosis> => {
  const out: Array<Diagnosis> = []
  const all = new Set(providers)
  const known = new Map([...all].map((name) => [lastName(name), name]))
  const shown = basename(file)
  for (const { map, name, path } of targets(config, "")) {
    const where = `${shown}, ${quote(path)}`
    const moved = MOVED.find(([from]) => name.startsWith(from))
    const now = known.get(lastName(name))
    if (moved) {
      out.push(diagnosis("error", "moved-class", `${where}: ${quote(name)} has moved`, renamed(file, name, moved[1] + name.slice(moved[0].length))))
    } else if (now !== undefined && !all.has(name)) {
      out.push(diagnosis("error", "moved-class", `${where}: ${quote(name)} has moved`, renamed(file, name, now)))
    } else if (DENIED.test(name)) {
      out.push(diagnosis("error", "refused-class", `${where}: the reference refuses to call ${quote(name)}`, { fix: "Set the field to null." }))
    } else if (!ALLOWED.some((prefix) => name.startsWith(prefix)) && !ALLOWED_EXACTLY.has(name)) {
      out.push(diagnosis("error", "refused-class", `${where}: the reference refuses to import ${quote(name)}`, { fix: `Only classes of ${ALLOWED.join(", ")} are allowed.` }))
    } else if (name.split(".").some((s) => s.startsWith("_")) && !PRIVATE_BUT_ALLOWED.has(name)) {
      out.push(diagnosis("error", "private-class", `${where}: the reference refuses private names, here ${quote(name)}`, {
        fix: "Set the field to null if the provider derives it itself."
      }))
    }
    if (map["_call_"] === false && Object.keys(map).length > 2) {
      out.push(diagnosis("error", "call-with-fields", `${where}: _call_ is false, yet the entry has further fields; the reference refuses that`, { fix: "Remove the fields." }))
    }
  }
  for (const [path, found] of texts(config, "")) {
    if (found.includes("${")) {
      out.push(diagnosis("warning", "interpolation", `${shown}, ${quote(path)}: OmegaConf takes \${…} for a reference to another field`, { fix: "Remove the ${…}." }))
    }
  }
  for (const [, field, value] of text.matchAll(/^[ \t]*([\w.]+): *([-+]?\d+[eE][-+]?\d+) *$/gm)) {
    out.push(diagnosis("error", "float-text", `${shown}, ${quote(field!)}: PyYAML reads ${value} as a string, not as a number`, {
      fix: `Write it with a point: ${value!.replace(/[eE]/, ".0e")}`
    }))
  }
  const provider = providerOf(config)
  if (!provider) {
    out.push(diagnosis("error", "no-provider", `${shown} has no section model, so no loader can build the model`, { fix: "Import the model again, or take the section from another checkpoint of it." }))
  } else if (config["model"] === provider) {
    const missing = REQUIRED_SIZES.filter((field) => !(field in provider))
    if (missing.length > 0) {
      out.push(diagnosis("warning", "no-parallel-sizes", `${shown} lacks model.${missing.join(" and model.")}, which a resuming trainer reads`, { fix: "Add them (1 is a valid value)." }))
    }
  }
  return out
}
