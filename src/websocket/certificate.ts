/** Certificates: made for one run and trusted by name of nobody but by being the very one; or given. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { LaunchError, quote } from "../errors.ts"
import type { Environment } from "./Environment.ts"

export interface Certificate {
  /** PEM */
  readonly cert: string
  readonly key: string
}

/** Node's core makes no certificates. */
export const selfSigned = async (): Promise<Certificate> => {
  const folder = await mkdtemp(join(tmpdir(), "megatron-mimo-tls-"))
  try {
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
    await promisify(execFile)("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=megatron-mimo"])
    return { cert: await readFile(cert, "utf8"), key: await readFile(key, "utf8") }
  } catch (error) {
    throw new LaunchError({ code: "launch/tls", problem: `openssl made no certificate: ${quote((error as Error).message.split("\n")[0]!)}`, hint: "Install openssl on the host of rank 0, or give MEGATRON_MIMO_TLS_CERT and MEGATRON_MIMO_TLS_KEY." })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const readGiven = async (env: Environment, name: string): Promise<string> => {
  const path = env[name]
  if (!path) throw new LaunchError({ code: "launch/tls", problem: `tls+HOST:PORT needs ${name}, the path of a PEM file`, hint: "The certificate at all processes, its key at rank 0." })
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new LaunchError({ code: "launch/tls", problem: `${name} cannot be read (${error.code})` })
  })
}

export const givenCertificate = async (env: Environment): Promise<Certificate> =>
  ({ cert: await readGiven(env, "MEGATRON_MIMO_TLS_CERT"), key: await readGiven(env, "MEGATRON_MIMO_TLS_KEY") })

export const trustedCertificate = (env: Environment): Promise<string> => readGiven(env, "MEGATRON_MIMO_TLS_CERT")
