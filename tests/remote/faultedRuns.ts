/** Imports from a Hub whose answers are spoiled: each gives the bytes of the undisturbed one, or a typed error and nothing. */
import { existsSync, rmSync } from "node:fs"
import { Effect, Layer } from "effect"
import { Disk, MegatronMimoBridge } from "../../src/index.ts"
import { isBridgeError } from "../../src/errors.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import { Remote } from "../../src/remote/RemoteOptions.ts"
import { treeOf } from "../trees.ts"
import type { FakeHub } from "./fakeHub.ts"
import { type Fault, spoilAnswer } from "./faults.ts"

/** `timeout`: milliseconds; a machine with much to do takes some of its own. */
export const importFrom = (hfModel: string, target: string, timeout = 5000): Promise<unknown> =>
  Effect.runPromise(MegatronMimoBridge.fromHfPretrained(hfModel).pipe(
    Effect.flatMap((bridge) => bridge.importCheckpoint(target, {})),
    Effect.provideService(Remote, { timeout, patience: 1 }),
    // A disk of its own: what is known of the Hub is known per disk.
    Effect.provide(Layer.succeed(Disk, { ...nodeCalls }))
  ))

/** Spoil request `at`, and, with `all`, every one after it. What went wrong with the promise, in words. */
export const faulted = async (hub: Pick<FakeHub, "asked" | "spoil">, hfModel: string, target: string, expected: ReadonlyMap<string, Buffer>, fault: Fault, at: number, all: boolean): Promise<string | undefined> => {
  hub.asked.length = 0
  const spoiled = spoilAnswer(hub, fault, at, all)
  rmSync(target, { recursive: true, force: true })
  const error = await importFrom(hfModel, target, 100).then(() => undefined, (reason: unknown) => reason)
  hub.spoil = undefined
  if (hub.asked.some(({ authorization, host }) => host === "cdn" && authorization !== undefined)) return "the token reached the CDN"
  if (error === undefined) {
    const found = treeOf(target)
    const same = found.size === expected.size && [...expected].every(([name, bytes]) => found.get(name)?.equals(bytes))
    return same ? undefined : "another checkpoint came out"
  }
  if (!spoiled()) return `failed without a fault: ${String(error)}`
  if (!isBridgeError(error)) return `no typed error: ${String(error)}`
  if (existsSync(target)) return "failed, and something was published"
  return undefined
}
