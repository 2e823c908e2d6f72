/** megatron-mimo-bridge: weights between Hugging Face safetensors and Megatron torch_dist checkpoints. */
export {
  AutoBridge, type BridgeOptions, type ExportOptions, type HfWeight, type ImportRequest, MegatronMimoBridge, type MimoBridgeOptions,
  type StandardBridgeOptions
} from "./api/MegatronMimoBridge.ts"
export {
  type Abortable, conversionPlan, exportCheckpoint, importCheckpoint, type Model, streamHfWeights, verifyCheckpoint
} from "./api/promises.ts"
export { families } from "../routes/index.ts"
export { type Component } from "./bridge/Component.ts"
export { type Carried, type Family, family, type HfHeaders, type ModelDescription } from "./bridge/Family.ts"
export { FamilyRegistry } from "./bridge/FamilyRegistry.ts"
export * as kinds from "./bridge/kinds.ts"
export { from, type HfTensor, type MappingKind, type Relation, type Row } from "./bridge/Mapping.ts"
export { type Provider } from "./bridge/Provider.ts"
export { MappingRegistry, rows, type Table } from "./bridge/Registry.ts"
export { validateRouteTable } from "./mimo/routes.ts"
export { type ConversionReport } from "./convert/Report.ts"
export { type MtpMode, type TorchDtype } from "./convert/Options.ts"
export { type VerifyReport } from "./convert/verify.ts"
export * from "./errors.ts"
export { Disk } from "./io/Disk.ts"
export { gpt } from "./model/gpt.ts"
export { type Entry, type Model as MegatronModel, type Parameter } from "./model/Parameter.ts"
export { Scope } from "./model/Scope.ts"
export { type TransformerConfig } from "./model/TransformerConfig.ts"
export { type Layout, resolveLayout, standardLayout } from "./parallel/Layout.ts"
export { type ModuleParallelism, parseComponent } from "./parallel/ModuleParallelism.ts"
export { groupsOf, type ProcessGroupCollection, processGroups } from "./parallel/ProcessGroups.ts"
export { VERSION } from "./version.ts"
