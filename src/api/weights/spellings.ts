/**
 * The names by which reinforcement learning frameworks call a bridge, in camel case: those of mbridge and those of Megatron-Bridge, each
 * for the one method here that does it.
 */

/** Methods and properties of an opened bridge, by their other names. */
export const SPELLINGS = {
  // mbridge
  config: "transformerConfig",
  setExtraArgs: "withOverrides",
  getModel: "parameterTable",
  loadWeights: "loadRankWeights",
  exportWeightsWithoutGather: "loadRankWeights",
  saveWeights: "save",
  exportWeights: "streamWeights",
  // Megatron-Bridge
  hfPretrained: "source",
  toMegatronProvider: "parameterTable",
  provideDistributedModel: "parameterTable",
  loadHfWeights: "loadRankWeights",
  saveHfPretrained: "save",
  saveHfWeights: "save",
  exportHfWeights: "streamWeights",
  getConversionTasks: "parameterTable"
} as const

/** Ways to a bridge, by their other names. */
export const STATIC_SPELLINGS = {
  fromPretrained: "open",
  fromConfig: "open",
  fromHfPretrained: "open",
  fromHfConfig: "open",
  registerModel: "registerFamily",
  registerBridge: "registerFamily"
} as const

/** What `Names` adds to `Members`. */
export type Spelled<Names extends Readonly<Record<string, keyof Members>>, Members> = { readonly [Name in keyof Names]: Members[Names[Name]] }

/** Every other name reads the member that it stands for. */
export const spell = (target: object, names: Readonly<Record<string, string>>): void => {
  for (const [name, member] of Object.entries(names)) {
    Object.defineProperty(target, name, { configurable: true, get(this: Record<string, unknown>) { return this[member] } })
  }
}
