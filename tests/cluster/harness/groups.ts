/** A process of a job as large as a layout: it gathers over every group that it is in and holds the answers against arithmetic. */
import { Effect } from "effect"
import { z } from "zod"
import { launchOf } from "../../../src/cluster/launch.ts"
import { inWorld } from "../../../src/cluster/open.ts"
import { collectionsOf } from "../../../src/cluster/ProcessGroupCollection.ts"
import { World } from "../../../src/cluster/World.ts"
import { Disk } from "../../../src/io/Disk.ts"
import { resolveLayout } from "../../../src/parallel/Layout.ts"
import { parseComponent } from "../../../src/parallel/ModuleParallelism.ts"
import { groupsOf, processGroupKinds, processGroups } from "../../../src/parallel/ProcessGroups.ts"

const [directory, ...components] = process.argv.slice(2) as [string, ...Array<string>]
const specs = components.map(parseComponent)
const layout = resolveLayout(specs, specs.map(({ name }) => name))

const program = Effect.gen(function*() {
  const world = yield* World
  let steps = 0
  for (const [name, collection] of collectionsOf(world, layout.components)) {
    const expected = groupsOf(processGroups(layout.components.find((component) => component.name === name)!.parallelism), world.rank)
    for (const kind of processGroupKinds) {
      const group = collection[kind]
      const ranks = group === undefined ? undefined : yield* group.allGather(kind, z.int(), world.rank)
      if (JSON.stringify(ranks) !== JSON.stringify(expected[kind])) return yield* Effect.die(new Error(`rank ${world.rank}, ${kind}: ${JSON.stringify(ranks)} instead of ${JSON.stringify(expected[kind])}`))
      if (group !== undefined) steps++
    }
    yield* collection.all.barrier(`${name} is done`)
  }
  const all = yield* world.gather("steps", z.int(), steps)
  if (all !== undefined) console.log(`${world.size} ranks, ${all.reduce((sum, n) => sum + n, 0)} memberships of groups`)
})

await Effect.runPromise(inWorld({ launch: launchOf(), directory, plan: "groups" }, program).pipe(Effect.provide(Disk.layer)))
