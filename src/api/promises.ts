/**
 * The same as plain async functions, for people who do not use Effect. Promises reject with the typed errors of the library
 * (`error._tag`, `error.message`, `error.exitCode`); an AbortSignal stops the work and nothing is published.
 */
import { Effect, Stream } from "effect"
import type { BridgeError } from "../errors.ts"
import { Disk } from "../io/Disk.ts"
import type { ConversionReport } from "../convert/Report.ts"
import type { VerifyOptions, VerifyReport } from "../convert/verify.ts"
import {
  AutoBridge, type ExportOptions, type HfWeight, type ImportRequest, MegatronMimoBridge, type MimoBridgeOptions, type StandardBridgeOptions
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

/** Tensor by tensor; the next one is assembled when the loop asks for it. */
export const streamHfWeights = (model: Model, megatronPath: string, options: ExportOptions = {}): AsyncIterable<HfWeight> =>
  Stream.toAsyncIterable(
    Stream.unwrap(Effect.map(bridge(model), (b) => b.streamHfWeights(megatronPath, options))).pipe(Stream.provide(Disk.layer))
  )
