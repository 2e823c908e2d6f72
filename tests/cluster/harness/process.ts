/** One real process of a job, for what only happens to processes: SIGKILL, SIGSTOP. Prints how it ended as one line of JSON. */
import { Effect } from "effect"
import { isBridgeError } from "../../../src/errors.ts"
import { inWorld } from "../../../src/cluster/open.ts"
import { launchOf } from "../../../src/cluster/launch.ts"
import { Disk } from "../../../src/io/Disk.ts"
import { program } from "./program.ts"

const { directory, limits, rendezvous, unitMs } = JSON.parse(process.argv[2]!) as { directory: string; rendezvous: string; limits: object; unitMs: number }

await Effect.runPromise(
  inWorld({ launch: launchOf(), directory, rendezvous, plan: "plan", limits }, program({ unitMs, joined: () => console.log(JSON.stringify({ joined: true })), published: (results) => console.log(JSON.stringify({ published: results })) })).pipe(Effect.provide(Disk.layer))
).catch((error: unknown) => {
  console.log(JSON.stringify({ error: (error as Error).message, code: isBridgeError(error) ? error.code : "internal" }))
  process.exitCode = isBridgeError(error) ? error.exitCode : 70
})
