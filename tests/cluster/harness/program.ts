/** What the processes of the fault tests do: agree, share units that take a while, collect, commit. */
import { Effect } from "effect"
import { z } from "zod"
import { eachUnit, World } from "../../../src/cluster/World.ts"
import { NoSpace } from "../../../src/errors.ts"

export const UNITS = 24

/** `failAt`: this process runs out of disk at its unit of that number. `published` is called at the commit. */
export const program = ({ failAt, joined = () => {}, published = () => {}, unitMs = 5 }: {
  readonly failAt?: number | undefined
  /** Called when all processes are there. */
  readonly joined?: () => void
  readonly published?: (results: ReadonlyArray<string>) => void
  readonly unitMs?: number
}) =>
  Effect.gen(function*() {
    const world = yield* World
    yield* world.agree("sources", "digest")
    joined()
    const sizes = Array.from({ length: UNITS }, (_, unit) => 1 + (unit * 7) % 11)
    const work = world.work("files", sizes, z.string())
    let count = 0
    yield* eachUnit(work, (unit) => Effect.gen(function*() {
      if (count++ === failAt) return yield* new NoSpace({ path: `__${world.rank}_0.distcp`, needed: 4096, hint: "Make room, then --resume." })
      yield* Effect.sleep(unitMs)
      world.progress(sizes[unit]!)
      return `unit ${unit}`
    }))
    const results = yield* work.results()
    if (results !== undefined) published(results)
    yield* world.barrier("committed")
  })
