/**
 * Where the processes of a job meet: what `--rendezvous` says.
 *
 * | value | meaning |
 * | --- | --- |
 * | `HOST:PORT` | rank 0 listens there; the token comes from `MEGATRON_MIMO_TOKEN` or the file in `MEGATRON_MIMO_TOKEN_FILE` |
 * | `directory[:PATH]` | rank 0 listens on a port of its own and leaves address and token in a directory that all can read |
 * | `tls+HOST:PORT`, `tls+directory[:PATH]` | the same through TLS |
 * | `file[:PATH]` | nobody listens: everything by files in a directory that all can write |
 */
import { LaunchError, quote } from "../errors.ts"
import type { Launch } from "./launch.ts"

export type Rendezvous =
  | { readonly kind: "address"; readonly host: string; readonly port: number; readonly tls: boolean }
  | { readonly kind: "directory"; readonly path: string; readonly tls: boolean }
  | { readonly kind: "file"; readonly path: string }

/**
 * @param usual the directory if none is named: beside what is written
 * @throws LaunchError `launch/value`; `launch/contradiction` for the port of torchrun's store
 */
export const parseRendezvous = (text: string | undefined, usual: string, { takenPort }: Pick<Launch, "takenPort"> = {}): Rendezvous => {
  const tls = text?.startsWith("tls+") ?? false
  const rest = tls ? text!.slice("tls+".length) : text ?? "directory"
  const place = /^(directory|file)(?::(.+))?$/s.exec(rest)
  if (place?.[1] === "file" && !tls) return { kind: "file", path: place[2] ?? usual }
  if (place?.[1] === "directory") return { kind: "directory", path: place[2] ?? usual, tls }
  const address = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9][A-Za-z0-9.-]{0,254})):([0-9]{1,5})$/.exec(rest)
  const port = Number(address?.[3])
  if (!address || port < 1 || port > 65_535) {
    throw new LaunchError({ code: "launch/value", problem: `--rendezvous ${quote(text ?? "")} is no place to meet`, hint: "HOST:PORT, directory[:PATH], either with tls+ before it, or file[:PATH]." })
  }
  if (port === takenPort) {
    throw new LaunchError({
      code: "launch/contradiction",
      problem: `--rendezvous ${quote(rest)} and MASTER_PORT=${takenPort} are one port, which the store of torchrun's agent has`,
      hint: "Name another port, or leave --rendezvous out."
    })
  }
  return { kind: "address", host: address[1] ?? address[2]!, port, tls }
}

/** A name for files from a run id, which may hold anything printable. */
export const runName = async (runId: string): Promise<string> => {
  if (/^[A-Za-z0-9][\w.-]{0,99}$/.test(runId)) return runId
  const { createHash } = await import("node:crypto")
  return createHash("sha256").update(runId).digest("hex").slice(0, 32)
}
