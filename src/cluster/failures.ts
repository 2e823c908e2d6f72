/** Errors on their way to other processes and back, and to the launcher. */
import { writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { type BridgeError, ClusterError, ExitCode, isBridgeError, LaunchError, PeerFailed } from "../errors.ts"
import type { JobFailure } from "./messages.ts"

const LONGEST = 1000
const cut = (text: string): string => (text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}…`)

/** What a process says of its own error. */
export const failureOf = (rank: number, error: unknown): JobFailure => {
  const base = { rank, host: cut(hostname()).slice(0, 255) }
  if (!isBridgeError(error)) return { ...base, code: "internal", problem: cut(String((error as Error | undefined)?.message ?? error)), exitCode: 70 }
  const { code, exitCode, hint, path, place, summary } = error as BridgeError & { readonly path?: string; readonly place?: { readonly tensor?: string } }
  return {
    ...base, code, exitCode, problem: cut(summary),
    ...(path === undefined ? {} : { file: cut(path) }),
    ...(place?.tensor === undefined ? {} : { tensor: cut(place.tensor) }),
    ...(hint === undefined ? {} : { hint: cut(hint) })
  }
}

/** Someone was interrupted: by its launcher, mostly because another process had failed. */
export const interrupted = (rank: number): JobFailure => ({ rank, host: hostname(), code: "interrupted", problem: "it was interrupted", exitCode: 143 })

/** What the first failure is to process `rank`. */
export const errorOf = (failure: JobFailure, rank: number): ClusterError | LaunchError | PeerFailed => {
  // What was found out about this very process by others.
  if (failure.rank === rank && failure.code.startsWith("launch/")) return new LaunchError({ code: failure.code, problem: failure.problem, ...hintOf(failure) })
  if (failure.rank === rank && failure.code === "cluster/lost") return new ClusterError({ code: failure.code, problem: `the others have given up this process (rank ${rank}): ${failure.problem}`, ...hintOf(failure) })
  if (failure.rank === rank && failure.code.startsWith("cluster/")) return new ClusterError({ code: failure.code, problem: failure.problem, ...hintOf(failure) })
  return new PeerFailed({
    rank: failure.rank, host: failure.host, rootCode: failure.code, problem: failure.problem, rootExitCode: failure.exitCode,
    ...(failure.file === undefined ? {} : { file: failure.file }),
    ...(failure.tensor === undefined ? {} : { tensor: failure.tensor }),
    ...hintOf(failure)
  })
}

const hintOf = ({ hint }: JobFailure) => (hint === undefined ? {} : { hint })

/**
 * Tell torchrun's agent why: it prints the message of the process that failed first, and reads it from the file that it named in
 * `TORCHELASTIC_ERROR_FILE` (JSON `{message: {message, extraInfo: {timestamp}}}`, seconds since 1970). What is in it already stays: it
 * was the cause.
 */
export const writeErrorFile = (error: unknown, env: Readonly<Record<string, string | undefined>> = process.env): void => {
  const path = env["TORCHELASTIC_ERROR_FILE"]
  if (!path) return
  const message = isBridgeError(error) ? `${error.name}: ${error.message}` : String((error as Error | undefined)?.message ?? error)
  const timestamp = String(Math.floor(Date.now() / 1000))
  try {
    writeFileSync(path, JSON.stringify({ message: { message, errorCode: isBridgeError(error) ? error.exitCode : ExitCode.io, extraInfo: { timestamp } } }), { flag: "wx" })
  } catch {
    // The agent then prints the exit code alone.
  }
}
