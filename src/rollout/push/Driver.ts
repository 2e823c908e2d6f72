/** What an engine is asked for while new weights come, whatever it is. */
import { IoError } from "../../errors.ts"
import type { EngineAnswer, EngineClient } from "./EngineClient.ts"

/** Engines that are known. */
export const engineKinds = ["sglang", "vllm"] as const
export type EngineKind = (typeof engineKinds)[number]

/** Between running requests and new weights; each engine knows some of them. */
export const pauseModes = ["abort", "retract", "wait", "keep"] as const
/** One of the ways to pause. */
export type PauseMode = (typeof pauseModes)[number]

/** What is loaded, as the engine sees it. */
export interface Load {
  /** The directory that is loaded. */
  readonly path: string
  /** What the engine is to call it. */
  readonly label: string
  /** Let the engine bring its own copy to the version first. */
  readonly pull: { readonly local: string; readonly source: string; readonly version: number } | undefined
}

export interface DriverOptions {
  readonly signal: AbortSignal
  /** Milliseconds for what is quick: pausing, labels, resuming. */
  readonly quick: number
  /** And for what takes time: a pull, a load, waiting for requests. */
  readonly slow: number
  readonly pause: PauseMode | undefined
  /** vLLM's four-phase protocol with its `disk` backend, instead of a reload. */
  readonly phases: boolean
}

export interface Driver {
  readonly kind: EngineKind
  /** Routes without which nothing works, and what for. */
  readonly needs: ReadonlyArray<string>
  /** Whatever can fail and takes time, while the engine still generates. */
  readonly prepare: (load: Load) => Promise<void>
  readonly pause: () => Promise<void>
  /** What was computed with old weights goes. */
  readonly flush: () => Promise<void>
  readonly update: (load: Load) => Promise<void>
  /** What the engine says that it has. */
  readonly version: () => Promise<string | undefined>
  /** Undefined: it does not say. One that was started anew is not paused, and a label that it was given since says nothing of its weights. */
  readonly isPaused: () => Promise<boolean | undefined>
  readonly resume: () => Promise<void>
}

export const fieldOf = (json: unknown, key: string): unknown => (typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>)[key] : undefined)

export const textField = (json: unknown, key: string): string | undefined => {
  const value = fieldOf(json, key)
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined
}

/** An answer that says no, as an error. */
export const refusedBy = (client: EngineClient, path: string, { json, status, text }: EngineAnswer): IoError => {
  const said = textField(json, "message") ?? textField(json, "error") ?? textField(json, "detail") ?? text
  return new IoError({ path: `${client.address}${path}`, operation: "write", errno: "EHTTP", detail: `the engine answers ${status}${said === "" ? "" : `: ${said}`}` })
}

/** The answer, which must be 200, and must not say that it failed all the same. */
export const accepted = (client: EngineClient, path: string, answer: EngineAnswer): EngineAnswer => {
  if (answer.status !== 200 || fieldOf(answer.json, "success") === false) throw refusedBy(client, path, answer)
  return answer
}
