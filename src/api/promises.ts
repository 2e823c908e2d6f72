/**
 * The same as plain async functions, for people who do not use Effect. Promises reject with the typed errors of the library
 * (`error._tag`, `error.message`, `error.exitCode`). An AbortSignal stops the work: when everything is closed and nothing was
 * published, the promise rejects with the signal's reason.
 */
import { Effect, Stream } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { toAsyncIterable, toPromise } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import type { ConversionReport } from "../plan/Report.ts"
import type { VerifyReport } from "../verify/pairing.ts"
import type { DiffReport } from "../diff/diff.ts"
import type { DoctorReport } from "../doctor/doctor.ts"
import type { Inspection } from "../inspect/Inspection.ts"
import type { Layout } from "../parallel/Layout.ts"
import type { ProcessGroupCollection } from "../parallel/ProcessGroups.ts"
import type { RelabelReport } from "../relabel/relabel.ts"
import type { ReshardReport } from "../reshard/Request.ts"
import { type AssemblyRequest, assembleModel } from "./assembly.ts"
import * as checkpoints from "./checkpoints.ts"
import * as resharding from "./reshard.ts"
import * as folders from "./trainingFolder.ts"
import { type DescribedByCheckpoint, prepareExport, type RunOptions } from "./conversions.ts"
import { withFamilyFiles } from "./familyFiles.ts"
import { forwardCheck, type ForwardReport, type ForwardRequest } from "./forward.ts"
import type { HfWeight } from "../weights/pieces.ts"
import {
  AutoBridge, type ExportOptions, type ImportRequest, MegatronMimoBridge, type MimoBridgeOptions, type StandardBridgeOptions, type VerifyOptions,
  type WeightStreamOptions
} from "./MegatronMimoBridge.ts"
import type { ImportChoices, TensorChoices, WithFamilies } from "./requests.ts"
import type { Shared } from "./shares.ts"
import * as rollout from "./rollout.ts"
import * as serving from "./serve.ts"
import { setupSft, type SetupReport, type SetupRequest } from "./setup.ts"
import { countFlops, type FlopsReport } from "./training/flops.ts"
import { countMemory, type MemoryReport } from "./training/memory.ts"
import { type LayoutReport, planLayout } from "./training/layouts.ts"
import type { TrainingRequest } from "./training/request.ts"
import * as whole from "./roundtrip.ts"
import { type SampleReport, type SampleRequest, writeSample } from "./samples.ts"

/** Work that can be stopped from outside. */
export interface Abortable {
  /** Stops the work; the promise, or the loop, then fails with `signal.reason`. */
  readonly signal?: AbortSignal
}

/** An export without a Hugging Face model: what a checkpoint does not say, and what becomes of its tensors. */
export interface DescribedExportRequest extends DescribedByCheckpoint, TensorChoices, WithFamilies, Partial<Pick<RunOptions, "checksum" | "overwrite" | "resume">> {
  /** Rows of the vocabulary; by default all that are stored. */
  readonly vocabSize?: number
}

/** What to convert, and in which form: `standard` for one model under one layout, else MegatronMIMO. */
export type ModelChoice =
  | ({ readonly hfModel: string; readonly standard?: false } & MimoBridgeOptions)
  | ({ readonly hfModel: string; readonly standard: true } & StandardBridgeOptions)

const bridge = (model: ModelChoice) =>
  model.standard ? AutoBridge.fromHfPretrained(model.hfModel, model) : MegatronMimoBridge.fromHfPretrained(model.hfModel, model)

const run = <A, E>(effect: Effect.Effect<A, E, Disk>, { signal }: Abortable): Promise<A> => toPromise(Effect.provide(effect, Disk.layer), signal)

/** {@link assembleModel}: a model that is put together from checkpoints of its parts, for `hfModel` of the functions here. */
export const assembleHfModel = (request: AssemblyRequest, options: Abortable = {}): Promise<string> => run(assembleModel(request), options)

/** Which component runs on which ranks. Reads the model's config.json only. */
export const modelLayout = (model: ModelChoice, options: Abortable = {}): Promise<Layout> =>
  run(Effect.flatMap(bridge(model), (b) => b.layout()), options)

/** The process groups of every component (lists of global ranks), by component name. Reads the model's config.json only. */
export const modelProcessGroups = (model: ModelChoice, options: Abortable = {}): Promise<ReadonlyMap<string, ProcessGroupCollection>> =>
  run(Effect.flatMap(bridge(model), (b) => b.processGroups()), options)

/** What {@link importCheckpoint} would do; with `processes`, who would write what. Reads headers only. */
export const conversionPlan = (model: ModelChoice, request: ImportChoices & Shared & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.conversionPlan(request)), request)

/** Write a model as a Megatron checkpoint. Atomic: the target is complete or as it was. */
export const importCheckpoint = (model: ModelChoice, megatronPath: string, request: ImportRequest & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.importCheckpoint(megatronPath, request)), request)

/** Write a checkpoint of a model, converted or trained, as a Hugging Face directory. Atomic. */
export const exportCheckpoint = (model: ModelChoice, megatronPath: string, hfPath: string, options: ExportOptions & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.exportCheckpoint(megatronPath, hfPath, options)), options)

/** Write a checkpoint as a Hugging Face directory whose config.json follows from what the checkpoint says of its model. Atomic. */
export const exportDescribed = (megatronPath: string, hfPath: string, request: DescribedExportRequest & Abortable = {}): Promise<ConversionReport> => {
  const { architecture, checksum, overwrite, resume, signal: _, tokenizer, ...choices } = request
  const beside = { ...(architecture === undefined ? {} : { architecture }), ...(tokenizer === undefined ? {} : { tokenizer }) }
  const running = Object.fromEntries(Object.entries({ checksum, overwrite, resume }).filter(([, value]) => value !== undefined))
  return run(Effect.flatMap(prepareExport(beside, megatronPath, choices), (prepared) => prepared.run(hfPath, running)), request)
}

/** Compare a model with a checkpoint of it, tensor by tensor. */
export const verifyCheckpoint = (model: ModelChoice, megatronPath: string, options: VerifyOptions & Abortable = {}): Promise<VerifyReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.verify(megatronPath, options)), options)

/** The built-in families and those in these files, whose code is run: for the `families` of any request. */
export const familiesFromFiles = (paths: ReadonlyArray<string>, options: Abortable = {}): Promise<FamilyRegistry> =>
  run(withFamilyFiles(paths), options)

/**
 * Every tensor in pieces of bounded size, or (`pieces: "whole"`) as a whole; the next one is assembled when the loop asks for it.
 * Leaving the loop, or aborting `signal` at any time, closes at once what the stream holds.
 */
export const streamHfWeights = (model: ModelChoice, megatronPath: string, options: WeightStreamOptions & Abortable = {}): AsyncIterable<HfWeight> =>
  toAsyncIterable(
    Stream.unwrap(Effect.map(bridge(model), (b) => b.streamHfWeights(megatronPath, options))).pipe(Stream.provide(Disk.layer)),
    options.signal
  )

/** Publish the next version of the weights in `root` for rollout engines: {@link rollout.publishVersion}. */
export const publishVersion = (source: string, root: string, request: rollout.PublishRequest & Abortable = {}): Promise<rollout.VersionReport> =>
  run(rollout.publishVersion(source, root, request), request)

/** Bring a local copy to a version: {@link rollout.pullVersion}. */
export const pullVersion = (root: string, local: string, request: rollout.PullRequest & Abortable = {}): Promise<rollout.PullReport> =>
  run(rollout.pullVersion(root, local, request), request)

/** Bring a version to every replica of an engine: {@link rollout.pushVersion}. */
export const pushVersion = (root: string, request: rollout.PushRequest & Abortable): Promise<rollout.PushReport> =>
  run(rollout.pushVersion(root, request), request)

/** The weights that a server streams ({@link serving.connectWeights}), as a loop. Leaving it, or aborting `signal`, ends the connection. */
export const streamServedWeights = (url: string, request: serving.ConnectRequest & Abortable = {}): AsyncIterable<serving.ReceivedWeight> =>
  toAsyncIterable(serving.connectWeights(url, request), request.signal)

/** Hugging Face → Megatron → Hugging Face, in temporary folders, and every tensor compared with what it was. */
export const roundtripCheckpoint = (hfModel: string, request: whole.RoundtripRequest & Abortable = {}): Promise<whole.RoundtripReport> =>
  run(whole.roundtrip(hfModel, request), request)

/** Write a deterministic Hugging Face checkpoint to try things with: real structure, generated weights, a few MB by default. */
export const writeSampleModel = (directory: string, request: SampleRequest & Abortable = {}): Promise<SampleReport> => run(writeSample(directory, request), request)

/** What is in a checkpoint of any kind: {@link checkpoints.inspect}. */
export const inspectCheckpoint = (path: string, request: checkpoints.InspectRequest & Abortable = {}): Promise<Inspection> =>
  run(checkpoints.inspect(path, request), request)

/** How two checkpoints of any kinds differ: {@link checkpoints.diff}. */
export const diffCheckpoints = (left: string, right: string, request: checkpoints.DiffRequest & Abortable = {}): Promise<DiffReport> =>
  run(checkpoints.diff(left, right, request), request)

/** What a checkpoint says to a text: {@link forwardCheck}. */
export const checkForward = (path: string, request: ForwardRequest & Abortable): Promise<ForwardReport> => run(forwardCheck(path, request), request)

/** Write a Megatron checkpoint under other names: {@link checkpoints.relabel}. */
export const relabelCheckpoint = (from: string, target: string, request: checkpoints.RelabelRequest & Abortable): Promise<RelabelReport> =>
  run(checkpoints.relabel(from, target, request), request)

/** What {@link relabelCheckpoint} would do. */
export const relabelPlan = (from: string, request: checkpoints.RelabelRequest & Abortable): Promise<RelabelReport> =>
  run(checkpoints.relabelPlan(from, request), request)

/** Write a training checkpoint under another layout, with its optimizer state: {@link resharding.reshard}. */
export const reshardCheckpoint = (from: string, target: string, request: resharding.ReshardRequest & Abortable = {}): Promise<ReshardReport> =>
  run(resharding.reshard(from, target, request), request)

/** What {@link reshardCheckpoint} would do. */
export const reshardPlan = (from: string, request: resharding.ReshardRequest & Abortable = {}): Promise<ReshardReport> =>
  run(resharding.reshardPlan(from, request), request)

/** Write the weighted mean of several iterations' weights as a checkpoint: {@link folders.mergeIterations}. */
export const mergeIterations = (from: string, target: string, request: folders.AverageRequest & Abortable): Promise<folders.AverageReport> =>
  run(folders.mergeIterations(from, target, request), request)

/** What a loader would stumble over, and what mends it: {@link checkpoints.examine}. */
export const examineCheckpoint = (path: string, options: WithFamilies & Abortable = {}): Promise<DoctorReport> =>
  run(checkpoints.examine(path, options), options)

/** A self-contained HTML page about checkpoints, and the verification card: {@link checkpoints.report}. */
export const reportCheckpoints = (paths: ReadonlyArray<string>, request: checkpoints.ReportRequest & Abortable = {}): Promise<checkpoints.Report> =>
  run(checkpoints.report(paths, request), request)

/** Operations of one sequence by component and kind of module. Reads the model's config.json only. */
export const trainingFlops = (hfModel: string, request: TrainingRequest & { readonly reference?: boolean } & Abortable = {}): Promise<FlopsReport> =>
  run(countFlops(hfModel, request), request)

/** Memory of every rank under a layout, in bytes. Reads the model's config.json only. */
export const trainingMemory = (hfModel: string, request: TrainingRequest & { readonly reference?: boolean } & Abortable = {}): Promise<MemoryReport> =>
  run(countMemory(hfModel, request), request)

/** The best layouts of a model on a cluster, or the judgement of a given one. Reads the model's config.json only. */
export const trainingLayout = (hfModel: string, request: TrainingRequest & Abortable = {}): Promise<LayoutReport> => run(planLayout(hfModel, request), request)

/** Write the folder of a fine-tuning run. Nothing is started. */
export const trainingSetup = (hfModel: string, directory: string, request: SetupRequest & Abortable = {}): Promise<SetupReport> =>
  run(setupSft(hfModel, directory, request), request)
