/** What every public function can fail with is part of its type: checked by the compiler, so nothing happens when this runs. */
import type { Effect, Stream } from "effect"
import { describe, expectTypeOf, it } from "vitest"
import {
  AutoBridge, checkpoints, type ConversionError, countFlops, countMemory, type Disk, type InvalidFile, type IoError, type JobError, MegatronMimoBridge,
  type NoSpace, type OpenError, type OutputRefused, planLayout, type PlanError, type PlanRefused, type ReadError, roundtrip, serveWeights, setupSft, type StreamError,
  type Unsupported, type UsageError
} from "../../src/index.ts"

type Call = (...args: never) => Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>
type ErrorOf<F extends Call> = ReturnType<F> extends Effect.Effect<unknown, infer E, unknown> ? E : ReturnType<F> extends Stream.Stream<unknown, infer E, unknown> ? E : never
type NeedsOf<F extends Call> = ReturnType<F> extends Effect.Effect<unknown, unknown, infer R> ? R : never
type Bridge = InstanceType<typeof MegatronMimoBridge>

describe("the type of an error is the union of what can happen", () => {
  it("looking at a checkpoint refuses no plan, writes nothing", () => {
    expectTypeOf<ErrorOf<typeof checkpoints.inspect>>().toEqualTypeOf<ReadError | UsageError>()
    expectTypeOf<ErrorOf<typeof checkpoints.examine>>().toEqualTypeOf<ReadError>()
    expectTypeOf<ErrorOf<typeof checkpoints.report>>().toEqualTypeOf<ReadError>()
    expectTypeOf<ReadError>().toEqualTypeOf<InvalidFile | Unsupported | OutputRefused | NoSpace | IoError>()
  })

  it("opening a model", () => {
    expectTypeOf<ErrorOf<typeof MegatronMimoBridge.fromHfPretrained>>().toEqualTypeOf<OpenError>()
    expectTypeOf<ErrorOf<typeof AutoBridge.fromHfPretrained>>().toEqualTypeOf<OpenError>()
    expectTypeOf<OpenError>().toEqualTypeOf<ReadError | UsageError>()
  })

  it("answers about sizes touch no disk", () => {
    expectTypeOf<ErrorOf<Bridge["layout"]>>().toEqualTypeOf<PlanError>()
    expectTypeOf<NeedsOf<Bridge["layout"]>>().toEqualTypeOf<never>()
    expectTypeOf<ErrorOf<Bridge["processGroups"]>>().toEqualTypeOf<PlanError>()
    expectTypeOf<NeedsOf<Bridge["processGroups"]>>().toEqualTypeOf<never>()
    expectTypeOf<PlanError>().toEqualTypeOf<InvalidFile | Unsupported | PlanRefused | UsageError>()
  })

  it("what plans or compares by itself; what may be the work of several processes fails with what they do to each other, too", () => {
    expectTypeOf<ConversionError>().toEqualTypeOf<ReadError | PlanError>()
    expectTypeOf<ErrorOf<Bridge["conversionPlan"]>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<Bridge["importCheckpoint"]>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<Bridge["exportCheckpoint"]>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<Bridge["streamHfWeights"]>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<Bridge["verify"]>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<typeof checkpoints.diff>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof checkpoints.relabel>>().toEqualTypeOf<JobError>()
    expectTypeOf<ErrorOf<typeof checkpoints.relabelPlan>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof roundtrip>>().toEqualTypeOf<JobError>()
    expectTypeOf<NeedsOf<Bridge["importCheckpoint"]>>().toEqualTypeOf<Disk>()
  })

  it("what is counted, planned or set up is the work of one process", () => {
    expectTypeOf<ErrorOf<typeof countFlops>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof countMemory>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof planLayout>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof setupSft>>().toEqualTypeOf<ConversionError>()
  })

  it("only a stream of weights has another end that breaks it", () => {
    expectTypeOf<ErrorOf<typeof serveWeights>>().toEqualTypeOf<JobError | StreamError>()
  })
})
