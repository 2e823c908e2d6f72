/** What new weights can come to an engine by, as it says itself. */
import { Effect } from "effect"
import { type Diagnosis, diagnosis } from "../../doctor/Diagnosis.ts"
import { attempt, converting } from "../../io/attempt.ts"
import type { Driver, DriverOptions } from "./Driver.ts"
import { EngineClient, engineAddress } from "./EngineClient.ts"
import { type EngineFacts, probe, worldSize } from "./probe.ts"
import { sglangDriver } from "./sglang.ts"
import { vllmDriver } from "./vllm.ts"

const TIMEOUT_MS = 10_000

const missingOf = ({ needs }: Driver, { routes }: EngineFacts): ReadonlyArray<string> => needs.filter((route) => !routes.has(route))

const way = (severity: "error" | "warning" | "note", code: string, what: string, missing: ReadonlyArray<string>, fix?: string): Diagnosis =>
  missing.length === 0
    ? diagnosis("ok", code, `${what}: will work`)
    : diagnosis(severity, code, `${what}: not here, as there is no ${missing.join(", ")}`, fix === undefined ? {} : { fix })

const sglang = (client: EngineClient, facts: EngineFacts, options: DriverOptions): ReadonlyArray<Diagnosis> => [
  way("error", "engine-disk", "full versions from disk (push)", missingOf(sglangDriver(client, options), facts)),
  way("note", "engine-pull", "deltas that the engine pulls itself (push --engine-local)", ["/pull_weights"].filter((route) => !facts.routes.has(route)), "push --copy DIR pulls them on this side, on a disk that the engine sees.")
]

const DEV_MODE = "Start it with VLLM_SERVER_DEV_MODE=1, on a private network: these routes may be unprotected."

const vllm = (client: EngineClient, facts: EngineFacts, options: DriverOptions): ReadonlyArray<Diagnosis> => [
  way("error", "engine-reload", "a reload from a path (push)", missingOf(vllmDriver(client, options), facts), DEV_MODE),
  way("note", "engine-phases", "the four phases with the disk backend (push --phases)", missingOf(vllmDriver(client, { ...options, phases: true }), facts), "Needs --weight-transfer-config '{\"backend\": \"disk\"}' as well, in a build that has it."),
  ...(facts.routes.has("/weight_checker") ? [diagnosis("ok", "engine-checksums", "checksums of what is loaded (/weight_checker): of the engine's own tensors, so they tell whether two loads gave the same")] : [])
]

/** Ask an engine what it can do. Never fails for what the engine says; what is wrong stands in the diagnoses. */
export const examineEngine = Effect.fnUntraced(function*(engine: string, token: string | undefined) {
  const address = yield* converting(() => engineAddress(engine))
  return yield* Effect.acquireUseRelease(
    Effect.sync(() => new EngineClient(address, token)),
    (client) => attempt(async (signal): Promise<ReadonlyArray<Diagnosis>> => {
        const calls = { timeout: TIMEOUT_MS, signal }
        const options: DriverOptions = { signal, quick: TIMEOUT_MS, slow: TIMEOUT_MS, pause: undefined, phases: false }
        const facts = await probe(client, calls)
        const health = facts.healthy ? diagnosis("ok", "engine-health", "answers, and says that it is healthy") : diagnosis("error", "engine-health", "says that it is not healthy (/health)")
        if (facts.kind === undefined) {
          return [health, diagnosis("error", "engine-unknown", "is neither SGLang nor vLLM with the routes for new weights", { fix: facts.routes.size === 0 ? "It publishes no /openapi.json: is this an engine, and not a router in front of several?" : DEV_MODE })]
        }
        const driver = facts.kind === "sglang" ? sglangDriver(client, options) : vllmDriver(client, options)
        const version = await driver.version()
        const size = await worldSize(client, facts, calls)
        return [
          health,
          diagnosis("note", "engine", `${facts.kind === "sglang" ? "SGLang" : "vLLM"}${size === undefined ? "" : `, ${size} ranks`}`),
          version === undefined
            ? diagnosis("error", "engine-version", "does not say which version of weights it has, so nothing could be confirmed")
            : diagnosis("ok", "engine-version", `its version of weights: ${version}`),
          ...(facts.kind === "sglang" ? sglang : vllm)(client, facts, options)
        ]
    }).pipe(Effect.catchTag("IoError", ({ hint, summary }) =>
      Effect.succeed<ReadonlyArray<Diagnosis>>([diagnosis("error", "engine-silent", summary, hint === undefined ? {} : { fix: hint })]))),
    (client) => Effect.promise(() => client.close().catch(() => {}))
  )
})
