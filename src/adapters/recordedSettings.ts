/** What a run says of its adapters, and what their tensors say where it says nothing. */
import { dirname } from "node:path"
import { atPath } from "../document/decode.ts"
import { quote, UsageError } from "../errors.ts"
import { type AdapterSettings, adapterSettings } from "../runconfig/adapterSection.ts"
import { readRunConfig } from "../space/megatronSpace.ts"
import type { Store } from "../store/Store.ts"
import type { LocatedAdapter } from "./locate.ts"

/** What the run of a checkpoint says of its adapters; a run's directory has it too. */
export const recordedSettings = async (store: Store, directory: string): Promise<AdapterSettings | undefined> => {
  for (const place of [directory, dirname(directory)]) {
    const config = await readRunConfig(store, place)
    const found = config && atPath(place, () => adapterSettings(config))
    if (found) return found
  }
  return undefined
}

/** The settings of these adapters. UsageError `usage/alpha` where nothing says their scale. */
export const adapterSettingsOf = (recorded: AdapterSettings | undefined, adapters: ReadonlyArray<LocatedAdapter>, directory: string, alpha: number | undefined): AdapterSettings => {
  if (recorded) return alpha === undefined ? recorded : { ...recorded, alpha }
  if (alpha === undefined) {
    throw new UsageError({
      code: "usage/alpha",
      problem: `nothing says the alpha of the adapters in ${quote(directory)}: there is no run_config.yaml with a peft section`,
      hint: "--alpha N: the one that they were trained with. A wrong one scales every change of a weight."
    })
  }
  const ranks = [...Map.groupBy(adapters, ({ rank }) => rank)].sort(([, a], [, b]) => b.length - a.length)
  const form = adapters.some(({ magnitude }) => magnitude) ? "dora" : adapters.some(({ pair }) => pair.slot) ? "canonical" : "lora"
  return { form, rank: ranks[0]![0], alpha, dropout: 0, targetModules: [], shareExperts: false, sharedOuter: false }
}
