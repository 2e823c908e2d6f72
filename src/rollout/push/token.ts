/** The secret that engines ask for: from a file or a variable, never from a command line that others can see. */
import { UsageError } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { readSmall } from "../../store/readSmall.ts"

const LARGEST_TOKEN = 16 << 10

const checked = (text: string, from: string): string => {
  const token = text.trim().replace(/^Authorization:\s*/i, "").replace(/^Bearer\s+/i, "")
  // Of a header; the token itself is not for messages.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new UsageError({ problem: `${from} holds no token: one word of printable characters`, hint: "The token alone, or a line “Authorization: Bearer TOKEN”." })
  return token
}

/** @throws UsageError; IoError */
export const readToken = async (disk: DiskCalls, { file, variable }: { readonly file?: string; readonly variable?: string }): Promise<string | undefined> => {
  if (file !== undefined) return checked(Buffer.from(await readSmall(disk, file, file, LARGEST_TOKEN)).toString("utf8"), `the file of --auth-file`)
  if (variable === undefined) return undefined
  const value = process.env[variable]
  if (value === undefined || value === "") throw new UsageError({ problem: `--auth-env: the variable ${variable} is not set` })
  return checked(value, `the variable of --auth-env`)
}
