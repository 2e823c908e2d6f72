/** megatron-mimo-bridge: weights between Hugging Face safetensors and Megatron torch_dist checkpoints. */
export {
  AutoBridge, type BridgeOptions, type ExportOptions, type ImportRequest, MegatronMimoBridge, type MimoBridgeOptions, type OpenError,
  type Running, type StandardBridgeOptions, type VerifyOptions, type WeightStreamOptions
} from "./api/MegatronMimoBridge.ts"
export { type HfWeight, type HfWeightOptions } from "./api/hfWeights.ts"
export {
  type Abortable, conversionPlan, diffCheckpoints, examineCheckpoint, exportCheckpoint, familiesFromFiles, importCheckpoint, inspectCheckpoint,
  type Model, modelLayout, modelProcessGroups, relabelCheckpoint, relabelPlan, reportCheckpoints, roundtripCheckpoint, streamHfWeights, verifyCheckpoint,
  writeSampleModel
} from "./api/promises.ts"
export { sampleModels, type SampleReport, type SampleRequest, type SampleSize, writeSample } from "./api/models.ts"
export { type Phase, type Progress, type Watched } from "./api/progress.ts"
export { type StandardSizes, type TensorChoices, type WithFamilies } from "./api/requests.ts"
export { roundtrip, type RoundtripReport, type RoundtripRequest, type RoundtripTensor } from "./api/roundtrip.ts"
export {
  bestComponents, countFlops, countMemory, type FlopsReport, knownGpus, type LayoutReport, type LayoutScore, type MemoryReport, planLayout, readModel, type TrainedModel,
  type TrainingRequest
} from "./api/training.ts"
export { setupSft, type SetupReport, type SetupRequest } from "./api/setup.ts"
export { compareFlops, type ComparedFlops } from "./cost/compareFlops.ts"
export { type FlopRow, type Flops, modelFlops } from "./cost/flops.ts"
export { loggedTextFlops, loggedVisionFlops } from "./cost/loggedFlops.ts"
export { bridgeMemory, megatronLmMemory } from "./cost/loggedMemory.ts"
export { layoutMemory, type MemorySettings, type StageMemory } from "./cost/memory.ts"
export { type ModelProfile, modelProfile } from "./cost/profile.ts"
export { modelWeights, parameterCount } from "./cost/weights.ts"
export { images as imageWorkload, sequences as textWorkload, together as workload, type Workload } from "./cost/Workload.ts"
export { estimateStep, type StepEstimate } from "./planner/estimate.ts"
export { type Gpu, GPUS } from "./planner/gpus.ts"
export { judge as judgeLayout, type LayoutPlan, planLayouts, type PlanRequest } from "./planner/plan.ts"
export { parseImages, sampleMix } from "./planner/samples.ts"
export * as checkpoints from "./api/checkpoints.ts"
export { withFamilyFiles } from "./api/familyFiles.ts"
export { families } from "../routes/index.ts"
export { type Component } from "./bridge/Component.ts"
export { type Carried, type Family, family, type FamilyDescription, type HfHeaders, type ModelDescription } from "./bridge/Family.ts"
export { FamilyRegistry } from "./bridge/FamilyRegistry.ts"
export * as kinds from "./bridge/allKinds.ts"
export { from, type HfTensor, type MappingKind, type Relation, type Row } from "./bridge/Mapping.ts"
export { type Provider } from "./runconfig/Provider.ts"
export { MappingRegistry, rows, type Table } from "./bridge/Registry.ts"
export { validateRouteTable } from "./mimo/routes.ts"
export { type ConversionReport } from "./plan/Report.ts"
export { type MtpMode, type TorchDtype } from "./plan/Options.ts"
export { type VerifyReport } from "./verify/pairing.ts"
export { type Distance } from "./diff/compareData.ts"
export { type DiffKind, type DiffReport, type TensorDiff } from "./diff/diff.ts"
export { type Diagnosis, type Severity } from "./doctor/Diagnosis.ts"
export { type DoctorReport } from "./doctor/doctor.ts"
export { type Finding } from "./inspect/findings.ts"
export { type FileRow, type Inspection, type Sum, type TensorRow } from "./inspect/Inspection.ts"
export { type Statistics } from "./inspect/Statistics.ts"
export { type RelabelReport } from "./relabel/relabel.ts"
export { type RelabelTo } from "./relabel/rules/index.ts"
export * from "./errors.ts"
export { Disk } from "./io/Disk.ts"
export * from "./model/Block.ts"
export { gpt } from "./model/gpt.ts"
export {
  type AudioSizes, type ModelModule, type ModuleFacts, type ModuleSource, type ProjectorSizes, type TowerSizes, type VisionSizes
} from "./model/ModelModule.ts"
export { type Entry, type Model as MegatronModel, type Parameter } from "./model/Parameter.ts"
export { Scope } from "./model/Scope.ts"
export { type TransformerConfig } from "./model/TransformerConfig.ts"
export { type Layout, resolveLayout, standardLayout } from "./parallel/Layout.ts"
export { type ModuleParallelism, parseComponent } from "./parallel/ModuleParallelism.ts"
export { groupsOf, type ProcessGroupCollection, processGroups } from "./parallel/ProcessGroups.ts"
export { VERSION } from "./version.ts"
