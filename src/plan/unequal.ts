/** Questions about contents that a plan has to ask: which of some arrays are not what they should be. */
import { Effect, Stream } from "effect"
import { z } from "zod"
import { once } from "../cluster/once.ts"
import type { WorldError } from "../cluster/World.ts"
import { compare, type Comparison, type EngineError, type EngineLimits } from "../engine/index.ts"
import type { Disk } from "../io/Disk.ts"

const names = z.array(z.string())

/**
 * The ids of the comparisons whose sides differ. Reads both sides; in a job of several processes the first one does, for all of them.
 *
 * @param what names the question in messages of the job
 * @param each called with every id once it is compared
 */
export const unequal = (
  what: string,
  comparisons: Iterable<Comparison>,
  engine: EngineLimits = {},
  each: (id: string) => void = () => {}
): Effect.Effect<ReadonlySet<string>, EngineError | WorldError, Disk> => {
  const found = Effect.suspend(() => {
    const different: Array<string> = []
    return compare(comparisons, engine).pipe(
      Stream.runForEach(({ equal, id }) => Effect.sync(() => {
        if (!equal) different.push(id)
        each(id)
      })),
      Effect.as(different)
    )
  })
  return Effect.map(once(what, names, found), (different) => new Set(different))
}
