/**
 * The same as plain async functions, for people who do not use Effect. Promises reject with the typed errors of the library
 * (`error._tag`, `error.message`, `error.exitCode`); an AbortSignal stops the work and nothing is published.
 */
import { Effect, Stream } from "effect"
import type { BridgeError } from "../errors.ts"
import { Disk } from "../io/Disk.ts"
import type { ConversionReport } from "../plan/Report.ts"
import type { VerifyOptions, VerifyReport } from "../verify/verify.ts"
import type { DiffReport } from "../diff/diff.ts"
import type { DoctorReport } from "../doctor/doctor.ts"
import type { Inspection } from "../inspect/Inspection.ts"
import type { RelabelReport } from "../relabel/relabel.ts"
import * as checkpoints from "./checkpoints.ts"
import type { HfWeight } from "./hfWeights.ts"
import {
  AutoBridge, type ExportOptions, type ImportRequest, MegatronMimoBridge, type MimoBridgeOptions, type StandardBridgeOptions, type WeightStreamOptions
} from "./MegatronMimoBridge.ts"

export interface Abortable {
  readonly signal?: AbortSignal
}

/** What to convert, and in which form: `standard` for one model under one layout, else MegatronMIMO. */
export type Model =
  | ({ readonly hfModel: string; readonly standard?: false } & MimoBridgeOptions)
  | ({ readonly hfModel: string; readonly standard: true } & StandardBridgeOptions)

const bridge = (model: Model) =>
  model.standard ? AutoBridge.fromHfPretrained(model.hfModel, model) : MegatronMimoBridge.fromHfPretrained(model.hfModel, model)

const run = <A>(effect: Effect.Effect<A, BridgeError, Disk>, signal: AbortSignal | undefined): Promise<A> =>
  Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)), signal ? { signal } : undefined)

export const conversionPlan = (model: Model, request: ImportRequest & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.conversionPlan(request)), request.signal)

export const importCheckpoint = (model: Model, megatronPath: string, request: ImportRequest & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.importCheckpoint(megatronPath, request)), request.signal)

export const exportCheckpoint = (model: Model, megatronPath: string, hfPath: string, options: ExportOptions & Abortable = {}): Promise<ConversionReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.exportCheckpoint(megatronPath, hfPath, options)), options.signal)

export const verifyCheckpoint = (model: Model, megatronPath: string, options: VerifyOptions & Abortable = {}): Promise<VerifyReport> =>
  run(Effect.flatMap(bridge(model), (b) => b.verify(megatronPath, options)), options.signal)

/** Every tensor in pieces of bounded size, or (`pieces: "whole"`) as a whole; the next one is assembled when the loop asks for it. */
export const streamHfWeights = (model: Model, megatronPath: string, options: WeightStreamOptions = {}): AsyncIterable<HfWeight> =>
  Stream.toAsyncIterable(
    Stream.unwrap(Effect.map(bridge(model), (b) => b.streamHfWeights(megatronPath, options))).pipe(Stream.provide(Disk.layer))
  )

/** What is in a checkpoint of any kind: {@link checkpoints.inspect}. */
export const inspectCheckpoint = (path: string, request: checkpoints.InspectRequest & Abortable = {}): Promise<Inspection> =>
  run(checkpoints.inspect(path, request), request.signal)

/** How two checkpoints of any kinds differ: {@link checkpoints.diff}. */
export const diffCheckpoints = (left: string, right: string, request: checkpoints.DiffRequest & Abortable = {}): Promise<DiffReport> =>
  run(checkpoints.diff(left, right, request), request.signal)

/** Write a Megatron checkpoint under other names: {@link checkpoints.relabel}. */
export const relabelCheckpoint = (from: string, target: string, request: checkpoints.RelabelRequest & Abortable): Promise<RelabelReport> =>
  run(checkpoints.relabel(from, target, request), request.signal)

/** What {@link relabelCheckpoint} would do. */
export const relabelPlan = (from: string, request: checkpoints.RelabelRequest & Abortable): Promise<RelabelReport> =>
  run(checkpoints.relabelPlan(from, request), request.signal)

/** What a loader would stumble over, and what mends it: {@link checkpoints.examine}. */
export const examineCheckpoint = (path: string, options: Parameters<typeof checkpoints.examine>[1] & Abortable = {}): Promise<DoctorReport> =>
  run(checkpoints.examine(path, options), options.signal)

/** A self-contained HTML page about checkpoints, and the verification card: {@link checkpoints.report}. */
export const reportCheckpoints = (paths: ReadonlyArray<string>, request: checkpoints.ReportRequest & Abortable = {}): Promise<checkpoints.Report> =>
  run(checkpoints.report(paths, request), request.signal)
