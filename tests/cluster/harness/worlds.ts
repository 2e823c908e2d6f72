/** Jobs over real connections and real files, all processes in this one. */
import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { onTestFinished } from "vitest"
import type { Limits } from "../../../src/cluster/limits.ts"
import { inWorld, type JobOptions } from "../../../src/cluster/open.ts"
import type { World } from "../../../src/cluster/World.ts"
import type { BridgeError } from "../../../src/errors.ts"
import { Disk } from "../../../src/io/Disk.ts"

export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "cluster-"))
  onTestFinished(() => { rmSync(path, { recursive: true, force: true }) })
  return path
}

/** Short, but a busy machine is not taken for a lost process. */
export const SHORT: Limits = { beat: 300, silence: 2_500, planning: 10_000, join: 20_000, lease: 5_000, step: 20_000 }

export const launch = (rank: number, worldSize: number, other: Partial<JobOptions["launch"]> = {}): JobOptions["launch"] =>
  ({ rank, worldSize, launcher: "flags", localSize: worldSize, runId: "run", attempt: 0, ...other })

export const inJob = <A, E extends BridgeError>(use: Effect.Effect<A, E, World | Disk>, options: Partial<JobOptions> & Pick<JobOptions, "launch" | "directory">, disk: Layer.Layer<Disk> = Disk.layer) =>
  inWorld({ plan: "plan", limits: SHORT, env: {}, ...options }, use).pipe(Effect.provide(disk))

/** `use` in every rank at once; what each ended with: its value, or its error. */
export const everywhere = <A, E extends BridgeError>(
  world: number,
  use: (rank: number) => Effect.Effect<A, E, World | Disk>,
  options: (rank: number) => Partial<JobOptions> & Pick<JobOptions, "directory">
): Promise<ReadonlyArray<A | Error>> =>
  Promise.all(Array.from({ length: world }, (_, rank) =>
    Effect.runPromise(inJob(use(rank), { launch: launch(rank, world), ...options(rank) })).catch((error: Error) => error)))
