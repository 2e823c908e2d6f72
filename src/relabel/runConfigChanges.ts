/** Which edits of the run configuration go with which naming. */
import type { Component } from "../bridge/Component.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { freshRunConfig } from "../runconfig/freshRunConfig.ts"
import { blockLayer, indexedLayer } from "../model/layerKeys.ts"
import { type Layout, standardLayout } from "../parallel/Layout.ts"
import { RunConfigEdit } from "../runconfig/RunConfigEdit.ts"
import type { RelabelTo } from "./rules/index.ts"

export interface ConfigFacts {
  /** Keys of the model's tensors in the new naming. */
  readonly keys: ReadonlyArray<string>
  readonly components: ReadonlyArray<Component> | undefined
  /** Of the model, if a config.json was named. */
  readonly description: ModelDescription | undefined
}

export interface ConfigChange {
  /** Undefined: stays as it is, or there is none. */
  readonly text?: string
  readonly notes: ReadonlyArray<string>
}

/** How many layers the lists have that `list` fits. */
const layersOf = (keys: ReadonlyArray<string>, list: RegExp): number =>
  keys.reduce((n, key) => {
    const layer = indexedLayer(key)
    return layer && list.test(layer.list) ? Math.max(n, layer.index + 1) : n
  }, 0)

/** The pattern of a hybrid checkpoint, layer by layer. */
const hybridPattern = (keys: ReadonlyArray<string>): string => {
  const kinds = new Map<number, "*" | "E">()
  for (const key of keys) {
    const layer = blockLayer(key)
    if (layer?.list !== "decoder.layers") continue
    if (layer.rest.startsWith("self_attention.")) kinds.set(layer.index, "*")
    else if (layer.rest.startsWith("mlp.router.") && !kinds.has(layer.index)) kinds.set(layer.index, "E")
  }
  return Array.from({ length: layersOf(keys, /^decoder\.layers$/) }, (_, i) => kinds.get(i) ?? "-").join("")
}

const edits: Partial<Record<RelabelTo, (edit: RunConfigEdit, facts: ConfigFacts, layout: (names: ReadonlyArray<string>) => Layout) => void>> = {
  mimo: (edit, { components }, layout) => edit.toMimo(layout((components ?? []).map((c) => c.name)).components),
  standard: (edit, { keys }) => edit.toStandard(layersOf(keys, /(?:^|\.)mtp\.layers$/)),
  hybrid: (edit, { keys }) => edit.toHybrid(hybridPattern(keys)),
  gpt: (edit) => edit.toGpt()
}

/** `bytes`: the file as it is; undefined where there is none. */
export const editRunConfig = (
  bytes: Uint8Array | undefined,
  { layout, to }: { readonly to: ReadonlyArray<RelabelTo>; readonly layout: (names: ReadonlyArray<string>) => Layout },
  facts: ConfigFacts
): ConfigChange => {
  const needed = to.filter((t) => edits[t])
  if (needed.length === 0) return { notes: [] }
  const form = to.findLast((t) => t === "mimo" || t === "standard") as "mimo" | "standard" | undefined
  if (!bytes) {
    if (facts.description && form) {
      const names = facts.description.components.map((c) => c.name)
      const components = form === "mimo" ? layout(names).components : standardLayout({}).components
      return { text: freshRunConfig(facts.description.provider, components, form), notes: ["the checkpoint had no run_config.yaml; one was made from config.json"] }
    }
    return { notes: ["the checkpoint has no run_config.yaml, so none was changed"] }
  }
  const edit = new RunConfigEdit(bytes)
  for (const t of needed) edits[t]!(edit, facts, layout)
  return { text: edit.toString(), notes: edit.notes }
}
