/**
 * A pipeline in Effect: plan, look at the process groups, import, then stream the weights back under their Hugging Face names
 * and hash them as they pass, as a weight push to an inference server would.
 *
 *   npm run example:effect
 */
import { Console, Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Disk, MegatronMimoBridge, writeSample } from "megatron-mimo-bridge"

const pipeline = (work: string) =>
  Effect.gen(function*() {
    const hf = join(work, "hf")
    const megatron = join(work, "megatron")
    yield* writeSample(hf, { model: "qwen3.5-vl-moe" })

    const bridge = yield* MegatronMimoBridge.fromHfPretrained(hf, { components: ["language=tp=2,ep=2,dp=1", "images=tp=1"] })
    for (const { bytes, layout, name, tensors } of (yield* bridge.conversionPlan()).components) {
      yield* Console.log(`${name}: ${tensors} tensors, ${bytes} bytes on ranks ${layout?.ranks}`)
    }
    for (const [name, groups] of yield* bridge.processGroups()) {
      yield* Console.log(`${name}: tensor-parallel groups ${JSON.stringify(groups.tp)}`)
    }
    yield* bridge.importCheckpoint(megatron)

    const hash = createHash("sha256")
    const count = yield* bridge.streamHfWeights(megatron).pipe(
      Stream.tap(({ bytes }) => Effect.sync(() => hash.update(bytes))),
      Stream.filter(({ last }) => last),
      Stream.runCount
    )
    yield* Console.log(`streamed ${count} tensors, sha256 ${hash.digest("hex").slice(0, 16)}…`)

    const { equal, total } = yield* bridge.verify(megatron)
    yield* Console.log(`${equal}/${total} equal`)
  })

const program = Effect.acquireUseRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "pipeline-"))),
  pipeline,
  (work) => Effect.promise(() => rm(work, { recursive: true }))
)

await Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))
