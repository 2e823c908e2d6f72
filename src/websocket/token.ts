/** The secret that lets a process in. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { LaunchError, quotePath } from "../errors.ts"
import type { Environment } from "./Environment.ts"

const SHORTEST = 16
const LONGEST = 4096

export const newToken = (): string => randomBytes(32).toString("base64url")

/** `MEGATRON_MIMO_TOKEN`, else what is in the file `MEGATRON_MIMO_TOKEN_FILE`, which nobody else may read. @throws LaunchError `launch/token` */
export const tokenFrom = (env: Environment, needs = "--rendezvous HOST:PORT needs a secret that all processes know"): string => {
  const token = env["MEGATRON_MIMO_TOKEN"] || fromFile(env["MEGATRON_MIMO_TOKEN_FILE"])
  if (!token) refuse(needs, "Set MEGATRON_MIMO_TOKEN, or MEGATRON_MIMO_TOKEN_FILE to a file with it: openssl rand -hex 32.")
  return usableToken(token!)
}

/** A token that was given otherwise. @throws LaunchError `launch/token` */
export const usableToken = (token: string): string => {
  if (token.length < SHORTEST || token.length > LONGEST || /[^\x21-\x7e]/.test(token)) refuse(`the token is not one of ${SHORTEST} to ${LONGEST} printable ASCII characters`)
  return token
}

const fromFile = (path: string | undefined): string | undefined => {
  if (!path) return undefined
  try {
    const { mode, size } = statSync(path)
    if (size > LONGEST) refuse(`${quotePath(path)} has ${size} bytes, which is no token`)
    if ((mode & 0o077) !== 0) refuse(`others can read the token in ${quotePath(path)}`, "chmod 600")
    return readFileSync(path, "utf8").trim()
  } catch (error) {
    if (error instanceof LaunchError) throw error
    return refuse(`the token's file ${quotePath(path)} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

const refuse = (problem: string, hint?: string): never => {
  throw new LaunchError({ code: "launch/token", problem, ...(hint === undefined ? {} : { hint }) })
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Takes as long whatever is wrong. */
export const isAuthorised = (header: string | undefined, token: string): boolean => timingSafeEqual(digest(header ?? ""), digest(`Bearer ${token}`))
