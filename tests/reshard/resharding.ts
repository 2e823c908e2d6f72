/** Resharding into folders of a test file's own, which go when it ends. */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import { reshard, type ReshardRequest } from "../../src/api/reshard.ts"
import { Disk } from "../../src/io/Disk.ts"
import type { TensorFacts } from "../conformance/training.ts"

export const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, Disk.layer) as Effect.Effect<A, E>)

/** Dtype, shape and hash alone, of tensors by key. */
export const plain = (tensors: Readonly<Record<string, TensorFacts>>): Record<string, TensorFacts> =>
  Object.fromEntries(Object.entries(tensors).map(([key, { dtype, sha256, shape }]) => [key, { dtype, shape, sha256 }]))

/** `fresh`: a path that nothing is at. `to`: reshard to one, and name it. */
export const resharding = () => {
  const work = mkdtempSync(join(tmpdir(), "reshard-"))
  afterAll(() => rmSync(work, { recursive: true, force: true }))
  let count = 0
  const fresh = (): string => join(work, String(count++))
  const to = async (from: string, request: ReshardRequest): Promise<string> => {
    const target = fresh()
    await run(reshard(from, target, request))
    return target
  }
  return { work, fresh, to }
}
