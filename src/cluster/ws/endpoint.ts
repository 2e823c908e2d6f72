/** Where rank 0 listens, in a file that only the user can read, in a directory that all processes see. */
import { mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { z } from "zod"
import { parseJson } from "../../document/StrictJson.ts"
import { IoError } from "../../errors.ts"
import { errnoOf } from "../../io/errno.ts"
import { type Envelope, failureSchema, type JobFailure } from "../messages.ts"
import { runName } from "../rendezvous.ts"
import type { Endpoint } from "./client.ts"

const LARGEST = 64 << 10

const endpointSchema = z.object({
  host: z.string().max(255), port: z.int().min(1).max(65_535), token: z.string().max(4096), certificate: z.string().max(16_384).optional()
})
const schema = z.object({ run: z.string(), attempt: z.int(), endpoint: endpointSchema.optional(), failure: failureSchema.optional() })

const failed = (path: string, operation: string) => (error: unknown): never => {
  throw new IoError({ path, operation, errno: errnoOf(error) })
}

/** The folder of a run in the directory where its processes meet. */
const runFolder = async (directory: string, run: Envelope): Promise<string> => join(directory, `.megatron-mimo.${await runName(run.run)}`)

const fileOf = async (directory: string, run: Envelope): Promise<string> => join(await runFolder(directory, run), `endpoint.${run.attempt}.json`)

/** What rank 0 leaves: where it listens, or why it does not any more. */
export type Notice = { readonly endpoint: Endpoint } | { readonly failure: JobFailure }

export const publishNotice = async (directory: string, run: Envelope, notice: Notice): Promise<void> => {
  const path = await fileOf(directory, run)
  await mkdir(dirname(path), { mode: 0o700 }).catch((error: unknown) => { if (errnoOf(error) !== "EEXIST") failed(dirname(path), "mkdir")(error) })
  const partial = `${path}.${crypto.randomUUID()}`
  const file = await open(partial, "wx", 0o600).catch(failed(partial, "open"))
  try {
    await file.writeFile(JSON.stringify({ ...run, ...notice }))
    await file.sync()
  } catch (error) {
    failed(partial, "write")(error)
  } finally {
    await file.close()
  }
  await rename(partial, path).catch(failed(path, "rename"))
}

/** What rank 0 left; undefined: nothing (yet), or something of another run. */
export const readNotice = async (directory: string, run: Envelope): Promise<Notice | undefined> => {
  try {
    const found = schema.safeParse(parseJson(await readFile(await fileOf(directory, run)), { maxBytes: LARGEST }))
    if (!found.success || found.data.run !== run.run || found.data.attempt !== run.attempt) return undefined
    const { endpoint, failure } = found.data
    return endpoint !== undefined ? { endpoint } : failure !== undefined ? { failure } : undefined
  } catch {
    return undefined
  }
}

/** The job is done: nothing of it stays, also of attempts that failed. */
export const withdraw = async (directory: string, run: Envelope): Promise<void> => {
  await rm(await runFolder(directory, run), { recursive: true, force: true }).catch(() => {})
}
