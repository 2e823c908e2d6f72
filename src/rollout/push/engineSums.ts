/**
 * The checksums that engines give of their own tensors: fused, cut and perhaps quantised as they run, so they are held against those of
 * other replicas, or against what one said before; never against files.
 */
import { Effect } from "effect"
import { isAbsolute, resolve } from "node:path"
import { z } from "zod"
import { byCodePoint } from "../../document/byCodePoint.ts"
import { decodeJson } from "../../document/decode.ts"
import { Unsupported, UsageError } from "../../errors.ts"
import { attempt, converting } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { writeSmall } from "../../io/small.ts"
import { isMissing } from "../../store/present.ts"
import { readSmall } from "../../store/readSmall.ts"
import { accepted, type EngineKind } from "./Driver.ts"
import { EngineClient, engineAddress } from "./EngineClient.ts"
import { probe } from "./probe.ts"
import { sglangDriver } from "./sglang.ts"
import { vllmDriver } from "./vllm.ts"

const LARGEST_BASELINE = 64 << 20

const sumsSchema = z.object({ checksums: z.record(z.string().max(4096), z.string().regex(/^[0-9a-fA-F]{8,128}$/)) })

/** Where an engine has them. */
const ROUTES: Readonly<Record<EngineKind, string>> = { vllm: "/weight_checker", sglang: "/weights_checker" }

type Sums = ReadonlyMap<string, string>

/** One engine, and what it says of its weights. */
export interface EngineState {
  readonly engine: string
  readonly kind: EngineKind
  /** What it says that it has. */
  readonly version?: string
  readonly tensors: number
}

/** A tensor that is not the same everywhere. */
export interface EngineDifference {
  readonly name: string
  /** Whose is another than the first engine's, or than the baseline's. */
  readonly engines: ReadonlyArray<string>
}

/** What engines say of their own tensors, held against one another. */
export interface EngineSumsReport {
  readonly engines: ReadonlyArray<EngineState>
  readonly different: ReadonlyArray<EngineDifference>
  /** Labels of versions are the same. */
  readonly sameVersion: boolean
  /** A file of checksums that they were held against, or that was written. */
  readonly baseline?: { readonly path: string; readonly written: boolean }
  readonly equal: boolean
}

export interface EngineSumsOptions {
  readonly engines: ReadonlyArray<string>
  readonly token?: string
  /** A file with the checksums of an earlier call; it is written where there is none. */
  readonly baseline?: string
  /** Milliseconds for an answer: an engine reads all that it holds. Default 600 000. */
  readonly timeout?: number
}

const sumsOfEngine = async (address: string, token: string | undefined, timeout: number, signal: AbortSignal): Promise<EngineState & { readonly sums: Sums }> => {
  const client = new EngineClient(address, token)
  try {
    const facts = await probe(client, { timeout, signal })
    const route = facts.kind && ROUTES[facts.kind]
    if (facts.kind === undefined || !facts.routes.has(route!)) {
      throw new Unsupported({ code: "unsupported/engine-checksums", what: address, problem: facts.kind === undefined ? "is neither SGLang nor vLLM with the routes for new weights" : `gives no checksums: it has no ${route}`, hint: "doctor --engine says what it has." })
    }
    const answer = await client.call("POST", route!, { body: { action: "checksum" }, timeout, signal })
    if (answer.status === 409) {
      throw new Unsupported({ code: "unsupported/engine-checksums", what: address, problem: "gives no checksums while it is paused or asleep (409)", hint: "Ask again when it generates." })
    }
    const parsed = sumsSchema.safeParse(accepted(client, route!, answer).json)
    if (!parsed.success) throw new Unsupported({ code: "unsupported/engine-checksums", what: address, problem: `answers ${route} without a list of checksums by name` })
    const options = { signal, quick: timeout, slow: timeout, pause: undefined, phases: false }
    const version = await (facts.kind === "sglang" ? sglangDriver(client, options) : vllmDriver(client, options)).version()
    const sums = new Map(Object.entries(parsed.data.checksums))
    return { engine: address, kind: facts.kind, ...(version === undefined ? {} : { version }), tensors: sums.size, sums }
  } finally {
    await client.close().catch(() => {})
  }
}

const readBaseline = async (disk: Disk["Service"], path: string): Promise<Sums | undefined> => {
  const bytes = await readSmall(disk, path, path, LARGEST_BASELINE).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  return bytes && new Map(Object.entries(decodeJson(sumsSchema, path, bytes).checksums))
}

const differences = (first: Sums, others: ReadonlyArray<{ readonly engine: string; readonly sums: Sums }>): ReadonlyArray<EngineDifference> => {
  const names = new Set([...first.keys(), ...others.flatMap(({ sums }) => [...sums.keys()])])
  return [...names].sort(byCodePoint).flatMap((name) => {
    const engines = others.filter(({ sums }) => sums.get(name) !== first.get(name)).map(({ engine }) => engine)
    return engines.length === 0 ? [] : [{ name, engines }]
  })
}

/**
 * Ask every engine for the checksums of what it holds, and hold them against one another and against an earlier answer.
 *
 * @throws Unsupported `unsupported/engine-checksums` for an engine that gives none; UsageError; IoError for one that does not answer
 */
export const compareEngineSums = Effect.fnUntraced(function*({ baseline, engines, timeout = 600_000, token }: EngineSumsOptions) {
  const disk = yield* Disk
  if (engines.length === 0) return yield* new UsageError({ problem: "there is no engine to ask", hint: "--engine URL, for each replica." })
  if (engines.length === 1 && baseline === undefined) return yield* new UsageError({ problem: "one engine has nothing to be held against", hint: "--engine again for another replica, or --baseline FILE." })
  const addresses = yield* converting(() => engines.map(engineAddress))
  const path = baseline === undefined || isAbsolute(baseline) ? baseline : resolve(baseline)
  const before = path === undefined ? undefined : yield* converting(() => readBaseline(disk, path))
  const states = yield* attempt((signal) => Promise.all(addresses.map((address) => sumsOfEngine(address, token, timeout, signal))))
  const [first, ...others] = states as [(typeof states)[number], ...typeof states]
  const different = before ? differences(before, states) : differences(first.sums, others)
  // Of engines that differ nobody knows which one is right.
  const written = path !== undefined && before === undefined && different.length === 0
  if (written) {
    yield* converting(() => writeSmall(disk, path, Buffer.from(`${JSON.stringify({ checksums: Object.fromEntries([...first.sums].sort(([a], [b]) => byCodePoint(a, b))) })}\n`)))
  }
  const sameVersion = new Set(states.map(({ version }) => version)).size === 1
  return {
    engines: states.map(({ engine, kind, tensors, version }) => ({ engine, kind, ...(version === undefined ? {} : { version }), tensors })),
    different, sameVersion,
    ...(path === undefined ? {} : { baseline: { path, written } }),
    equal: different.length === 0 && sameVersion
  } satisfies EngineSumsReport as EngineSumsReport
})
