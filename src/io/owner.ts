/**
 * Who holds something, in a form that outlives its holder: a process is known by its number and its start time, so that a
 * reused number is not mistaken for it, on a host since a boot. `/proc` is asked directly; it is no part of the file system
 * that the `Disk` service stands for.
 */
import { readFileSync } from "node:fs"
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

const bootId = (): string => readProc("/proc/sys/kernel/random/boot_id")?.trim() ?? ""

/** This process, under a name that no other holder has. */
export const thisProcess = (): Owner => ({
  pid: process.pid,
  thread: threadId,
  host: hostname(),
  boot: bootId(),
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

/** Does that process still run? Of another host nobody here can say: it counts as running. */
export const isAlive = (owner: Owner): boolean => {
  if (owner.host !== hostname()) return true
  if (owner.boot !== bootId() || !exists(owner.pid)) return false
  const now = statOf(owner.pid)
  // A zombie writes nothing any more.
  return now === undefined || (now.start === owner.start && now.state !== "Z")
}
