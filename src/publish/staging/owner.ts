/**
 * Who holds something, in a form that outlives its holder: a process is known by its number and its start time, so that a
 * reused number is not mistaken for it, in a PID namespace of a running kernel. `/proc` is asked directly; it is no part of the
 * file system that the `Disk` service stands for.
 */
import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import { threadId } from "node:worker_threads"
import { z } from "zod"

export const ownerSchema = z.object({
  pid: z.int().positive(),
  /** Worker thread within it; 0 is the main one. */
  thread: z.int().nonnegative(),
  host: z.string().max(255),
  /** Linux: of this boot. Empty elsewhere. */
  boot: z.string().max(64),
  /** Linux: the PID namespace, in which `pid` is a number; containers have their own. Empty elsewhere, or if `/proc` is of another one. */
  namespace: z.string().max(64),
  /** Linux: clock ticks from boot to the start of the process. Empty elsewhere. */
  start: z.string().max(32),
  /** When it took hold: ISO 8601. */
  since: z.string().max(64),
  nonce: z.string().max(64)
})
export type Owner = z.infer<typeof ownerSchema>

const readProc = (path: string): string | undefined => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return undefined
  }
}

/** Fields of `/proc/PID/stat` behind the command name, which may itself contain spaces and brackets. */
const statOf = (pid: number): { readonly state: string; readonly start: string } | undefined => {
  const fields = readProc(`/proc/${pid}/stat`)?.split(") ").at(-1)?.split(" ")
  // proc(5): the state is field 3, the start time field 22.
  return fields?.[0] !== undefined && fields[19] !== undefined ? { state: fields[0], start: fields[19] } : undefined
}

/** Only if `/proc` shows the processes of this namespace: what it says of a number is otherwise said of another process. */
const pidNamespace = (): string => {
  try {
    return readlinkSync("/proc/self") === String(process.pid) ? readlinkSync("/proc/self/ns/pid") : ""
  } catch {
    return ""
  }
}

const bootId = (): string => readProc("/proc/sys/kernel/random/boot_id")?.trim() ?? ""

/** This process, under a name that no other holder has. */
export const thisProcess = (): Owner => ({
  pid: process.pid,
  thread: threadId,
  host: hostname(),
  boot: bootId(),
  namespace: pidNamespace(),
  start: statOf(process.pid)?.start ?? "",
  since: new Date().toISOString(),
  nonce: crypto.randomUUID()
})

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** `unknown`: it is or was a process of another host, another boot or another PID namespace. */
export type Life = "alive" | "dead" | "unknown"

/**
 * Does that process still run?
 *
 * **Gotchas**: another boot of "the same host" is unknown, not dead: two machines, or containers on two machines, may share a host
 * name and a file system. Process numbers say nothing outside their namespace.
 */
export const lifeOf = (owner: Owner): Life => {
  const boot = bootId()
  const isComparable = boot === ""
    // No /proc: not Linux.
    ? owner.boot === "" && owner.host === hostname()
    : owner.boot === boot && owner.namespace !== "" && owner.namespace === pidNamespace()
  if (!isComparable) return "unknown"
  if (!exists(owner.pid)) return "dead"
  const now = statOf(owner.pid)
  // A zombie writes nothing any more.
  return now === undefined || (now.start === owner.start && now.state !== "Z") ? "alive" : "dead"
}
