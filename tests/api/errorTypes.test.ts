/** What every public function can fail with is part of its type: checked by the compiler, so nothing happens when this runs. */
import type { Effect, Stream } from "effect"
import { describe, expectTypeOf, it } from "vitest"
import {
  AutoBridge, type BridgeError, checkpoints, type ConversionError, type Disk, type InvalidFile, type IoError, MegatronMimoBridge, type NoSpace, type OpenError,
  type OutputRefused, type PlanError, type PlanRefused, type ReadError, roundtrip, type Unsupported, type UsageError
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
    expectTypeOf<ErrorOf<Bridge["conversionPlan"]>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<Bridge["importCheckpoint"]>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<Bridge["exportCheckpoint"]>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<Bridge["streamHfWeights"]>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<Bridge["verify"]>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<typeof checkpoints.diff>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof checkpoints.relabel>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<ErrorOf<typeof checkpoints.relabelPlan>>().toEqualTypeOf<ConversionError>()
    expectTypeOf<ErrorOf<typeof roundtrip>>().toEqualTypeOf<BridgeError>()
    expectTypeOf<NeedsOf<Bridge["importCheckpoint"]>>().toEqualTypeOf<Disk>()
  })
})
