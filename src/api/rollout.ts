/** Weights for rollout engines, as Effects: versions of a model in a folder, whole or as what changed. */
import { Effect, Schedule } from "effect"
import { resolve } from "node:path"
import type { DescribedByCheckpoint } from "../convert/exportModel.ts"
import type { EngineLimits } from "../engine/index.ts"
import type { JobError } from "../errors.ts"
import { Disk } from "../io/Disk.ts"
import type { ExportRequest } from "../convert/prepareExport.ts"
import { preparePublish as planPublish, type PreparedVersion, type PublishVersionRequest } from "../rollout/publishVersion.ts"
import type { PublishVersionRun, VersionReport } from "../rollout/VersionReport.ts"
import { type Diagnosis, bySeverity } from "../doctor/Diagnosis.ts"
import type { DoctorReport } from "../doctor/doctor.ts"
import { attempt } from "../io/attempt.ts"
import { compareEngineSums, type EngineSumsOptions, type EngineSumsReport } from "../rollout/push/engineSums.ts"
import { examineEngine as engineDiagnoses } from "../rollout/push/examine.ts"
import { pushVersion as push, type PushReport, type PushOptions } from "../rollout/push/push.ts"
import { readToken } from "../rollout/push/token.ts"
import { type PullReport, type PullOptions, pullVersion as pull } from "../rollout/pull.ts"
import { newestSource, trackedIteration } from "../rollout/watch.ts"
import { frozenNames } from "./weights/model.ts"
import { measured, meter, type Watched } from "./progress.ts"
import { familiesOf, type TensorChoices, tensorChoices, type WithFamilies } from "./requests.ts"

export { encodings as deltaEncodings, type DeltaEncoding } from "../rollout/DeltaWriter.ts"
export { engineKinds, type PauseMode, pauseModes } from "../rollout/push/Driver.ts"
export { phases as pushPhases, type PushReport, type ReplicaReport } from "../rollout/push/push.ts"
export type { EngineSumsReport } from "../rollout/push/engineSums.ts"
export type { PullReport } from "../rollout/pull.ts"
export type { PreparedVersion } from "../rollout/publishVersion.ts"
export type { VersionReport } from "../rollout/VersionReport.ts"

/** What is published as the next version, of what kind, and how. */
export interface PublishRequest extends WithFamilies, TensorChoices, Omit<PublishVersionRequest, "frozen">, Watched, EngineLimits, Pick<ExportRequest, "mtpFrom" | "vocabSize">, Pick<PublishVersionRun, "onKept" | "onWait" | "resume"> {
  /** Of a Megatron checkpoint: the model's directory; or what the checkpoint does not say of itself. */
  readonly model?: string | DescribedByCheckpoint
  /** Parts that do not train (`router`, `language`, `encoders`, …): a delta takes them as they were, without reading them. */
  readonly freeze?: ReadonlyArray<string>
}

/** Plan the next version of `root` from a Megatron checkpoint or a Hugging Face directory. Reads headers only. */
export const prepareVersion = (source: string, root: string, request: PublishRequest = {}): Effect.Effect<PreparedVersion, JobError, Disk> => {
  const { base, encoding, freeze = [], full, fullEvery, keep, model = {}, mtpFrom, vocabSize } = request
  const known = freeze.length === 0 ? Effect.succeed(undefined) : frozenNames(familiesOf(request), freeze, [...(typeof model === "string" ? [model] : []), source])
  return Effect.flatMap(known, (frozen) => {
    const next = Object.fromEntries(Object.entries({ base, encoding, frozen, full, fullEvery, keep }).filter(([, value]) => value !== undefined)) as PublishVersionRequest
    return planPublish(familiesOf(request), source, root, {
      model,
      request: { ...tensorChoices(request), ...(mtpFrom === undefined ? {} : { mtpFrom }), ...(vocabSize === undefined ? {} : { vocabSize }) }
    }, next)
  })
}

/**
 * Publish the next version of `root`: the whole model, or a delta against the version before. Nobody sees half of it.
 *
 * @throws PlanRefused `rollout/other-layout`, InvalidFile `rollout/wrong-base`; what an export fails with.
 */
export const publishVersion = (source: string, root: string, request: PublishRequest = {}): Effect.Effect<VersionReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { concurrency, io, maxMemory, onKept, onWait, resume, threads } = request
    const { report, run } = yield* prepareVersion(source, root, request)
    const { add, total } = meter("publishing", request)
    total(report.modelBytes)
    const limits = Object.fromEntries(Object.entries({ concurrency, io, maxMemory, threads, onKept, onWait, resume }).filter(([, value]) => value !== undefined)) as PublishVersionRun
    return yield* run({ ...limits, progress: add })
  })

/** How a training folder is watched. */
export interface WatchRequest extends PublishRequest {
  /** Milliseconds between two looks at the tracker. Default 2000. */
  readonly interval?: number
  /** Told of every version. */
  readonly onVersion?: (version: VersionReport) => Effect.Effect<void>
  /** End after as many versions. Default: never. */
  readonly versions?: number
}

/**
 * Publish every iteration of a training folder as soon as its tracker names it; the one that it names now too, unless the newest version
 * was made from it. Goes on until it is interrupted or fails.
 */
export const watchVersions = (folder: string, root: string, request: WatchRequest = {}): Effect.Effect<ReadonlyArray<VersionReport>, JobError, Disk> =>
  Effect.gen(function*() {
    const { interval = 2000, onVersion, versions = Infinity } = request
    const done: Array<VersionReport> = []
    const look = Effect.gen(function*() {
      const iteration = yield* trackedIteration(folder)
      if (iteration === undefined || (yield* newestSource(root)) === resolve(iteration)) return
      const version = yield* publishVersion(iteration, root, request)
      done.push(version)
      if (onVersion) yield* onVersion(version)
    })
    yield* look.pipe(Effect.repeat({ schedule: Schedule.spaced(interval), until: () => done.length >= versions }))
    return done
  })

/** Which version is pulled, and how. */
export interface PullRequest extends Watched, Omit<PullOptions, "progress" | "onSize"> {}

/**
 * Bring `local` to a version of `root`: by the deltas since the version that it is, in place, or from the last full version on. A run that
 * was cut short is gone on with; damaged and foreign files are found before anything is touched.
 *
 * @throws InvalidFile `rollout/…`; OutputRefused `output/not-a-copy`, `output/locked`; NoSpace, IoError.
 */
export const pullVersion = (root: string, local: string, request: PullRequest = {}): Effect.Effect<PullReport, JobError, Disk> => {
  const { onProgress, ...options } = request
  const { progress, onSize } = measured("pulling", request)
  return pull(root, local, { ...options, ...(onProgress ? { progress, onSize } : {}) })
}

/** Where the secret is that engines ask for: a file with a token, or the name of a variable. */
export interface EngineSecret {
  readonly authFile?: string
  readonly authVariable?: string
}

const tokenOf = ({ authFile, authVariable }: EngineSecret) =>
  Effect.flatMap(Disk, (disk) => attempt(() => readToken(disk, { ...(authFile === undefined ? {} : { file: authFile }), ...(authVariable === undefined ? {} : { variable: authVariable }) })))

/** Which version goes to which engines, and how. */
export interface PushRequest extends EngineSecret, Omit<PushOptions, "token"> {}

/**
 * Bring a version to every replica: fetch and verify, pause, flush, update, read it back from all, resume. Fails before any engine was
 * asked for anything; what fails afterwards stands in the report, with what each replica holds, and nobody is resumed.
 */
export const pushVersion = (root: string, request: PushRequest): Effect.Effect<PushReport, JobError, Disk> => {
  const { authFile: _, authVariable: __, ...options } = request
  return Effect.flatMap(tokenOf(request), (token) => push(root, { ...options, ...(token === undefined ? {} : { token }) }))
}

/** Which engines are asked for checksums, and what these are held against. */
export interface EngineSumsRequest extends EngineSecret, Omit<EngineSumsOptions, "token"> {}

/**
 * Do engines hold the same weights, as their own checksums say? They are of the engines' own tensors, so they are held against those of the
 * other engines, or against what one said before (`baseline`).
 *
 * @throws Unsupported `unsupported/engine-checksums` for an engine that gives none, or is paused
 */
export const verifyEngines = (request: EngineSumsRequest): Effect.Effect<EngineSumsReport, JobError, Disk> => {
  const { authFile: _, authVariable: __, ...options } = request
  return Effect.flatMap(tokenOf(request), (token) => compareEngineSums({ ...options, ...(token === undefined ? {} : { token }) }))
}

/** What new weights can come to an engine by. */
export const examineEngine = (engine: string, secret: EngineSecret = {}): Effect.Effect<DoctorReport, JobError, Disk> =>
  Effect.gen(function*() {
    const found: ReadonlyArray<Diagnosis> = yield* engineDiagnoses(engine, yield* tokenOf(secret))
    return { path: engine, found: bySeverity(found), sound: !found.some(({ severity }) => severity === "error") }
  })
