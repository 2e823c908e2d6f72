/** What every command prints with `--json` when it fails, and the lines of `--json-events`. */
import { z } from "zod"
import type { BridgeError } from "../../errors.ts"
import { SCHEMA } from "../envelope.ts"
import { bytes, count, optional, text, texts } from "./fields.ts"

/** Every error there is, and the two that are none of the library's. */
const KINDS: Readonly<Record<BridgeError["_tag"] | "Interrupted" | "Internal", true>> = {
  InvalidFile: true, Unsupported: true, PlanRefused: true, UsageError: true, OutputRefused: true, NoSpace: true, IoError: true, LaunchError: true, ClusterError: true,
  PeerFailed: true, StreamRefused: true, StreamBroken: true, Interrupted: true, Internal: true
}

/** What every command prints instead when it fails. */
export const errorDocument = z.strictObject({
  ok: z.literal(false),
  command: optional(text.describe("The word that was typed")),
  schema: z.literal(SCHEMA),
  exitCode: z.int().min(2),
  error: z.strictObject({
    kind: z.enum(Object.keys(KINDS) as [keyof typeof KINDS, ...Array<keyof typeof KINDS>]),
    code: text.describe("Stable; docs/errors.md lists them"),
    message: text.describe("For people: what happened, and what to do"),
    exitCode: z.int().min(2),
    hint: optional(text),
    path: optional(text),
    tensor: optional(text),
    field: optional(text),
    record: optional(text),
    offset: optional(count),
    names: optional(texts),
    peer: optional(z.strictObject({ rank: count, host: text, code: text, exitCode: z.int(), file: optional(text), tensor: optional(text) })
      .describe("PeerFailed: the process that failed first, and with what")),
    signal: optional(z.enum(["SIGINT", "SIGTERM", "SIGHUP"]))
  })
}).meta({ title: "A failure of any command" })

const network = {
  bytes: bytes.describe("Received and sent since the phase began"),
  bytesPerSecond: count.describe("Of late; at the end, of the whole phase"),
  requests: count,
  retries: count.describe("Requests that were repeated"),
  waiting: z.boolean().describe("The server has asked to be left alone for a while")
}

/** A line on stderr with `--json-events`. */
export const eventLine = z.union([
  z.strictObject({ event: z.literal("start"), phase: text, total: bytes }),
  z.strictObject({ event: z.literal("progress"), phase: text, done: bytes, total: bytes, bytesPerSecond: count, network: optional(z.strictObject(network)) }),
  z.strictObject({ event: z.enum(["end", "failed"]), phase: text, done: bytes, total: bytes, seconds: z.number().min(0), network: optional(z.strictObject(network)) })
]).meta({ title: "A line of --json-events" })
