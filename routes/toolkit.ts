/**
 * `megatron-mimo-bridge/family`: what a family outside this repository is written with, the tables of `shared/` and the mapping kinds
 * included. The families here import the same things file by file. docs/adding-a-family.md says what each is for.
 */
export { type Component, type Route } from "../src/bridge/Component.ts"
export {
  type Carried, type ConfigField, type Family, family, type FamilyDescription, type FamilySource, type HfHeaders, type MimoForm,
  type ModelDescription, type Vocabulary, type ZeroFilled
} from "../src/bridge/Family.ts"
export { FamilyRegistry } from "../src/bridge/FamilyRegistry.ts"
export { expandBraces, from, type ExpectedTensor, type MappingKind, type Relation, type Row, type RowSource } from "../src/bridge/Mapping.ts"
export { MappingRegistry, rows, type Table } from "../src/bridge/Registry.ts"
export { type Renaming } from "../src/bridge/Spelling.ts"
export * from "../src/bridge/allKinds.ts"
export { FormatError } from "../src/errors.ts"
export * from "../src/model/Block.ts"
export * from "../src/model/Forward.ts"
export * from "../src/model/ModelModule.ts"
export { type Entry, type Model, type ModuleState, type Parameter } from "../src/model/Parameter.ts"
export { type ParameterOptions, Scope } from "../src/model/Scope.ts"
export * from "../src/model/TransformerConfig.ts"
/** Megatron-Core's modules: `model.gpt(scope, config)`, `model.mlp(…)`. */
export * as model from "../src/model/index.ts"
export { gpt, transformerLayer } from "../src/model/gpt.ts"
export * from "../src/model/plain.ts"
export * from "../src/runconfig/Provider.ts"
export { type Copy, identity, type Shape, stridesOf, type View, viewOf, volume } from "../src/tensor/Copy.ts"
export * from "./shared/activations.ts"
export * from "./shared/appendedMtp.ts"
export * from "./shared/biases.ts"
/** Rows of attention, MLP, norms, vision blocks: `tables.attention`, `tables.denseMlp` … */
export * as tables from "./shared/blocks.ts"
export * from "./shared/config.ts"
export * from "./shared/denseFirstMoe.ts"
export * from "./shared/experts.ts"
export * from "./shared/forward.ts"
export * from "./shared/fusions.ts"
export * from "./shared/hfConfig.ts"
export * from "./shared/llama.ts"
export { mambaMixerRows } from "./shared/mamba.ts"
export * from "./shared/mla.ts"
export * from "./shared/moe.ts"
export * from "./shared/multimodal.ts"
export * from "./shared/projectors.ts"
export * from "./shared/provider.ts"
export * from "./shared/ropeScaling.ts"
export * from "./shared/textLayout.ts"
export * from "./shared/textModel.ts"
/** Encoders: config fields, typed modules, rows. */
export * as towers from "./shared/towers/index.ts"
