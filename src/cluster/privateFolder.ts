/** A folder on this host that is the user's alone. */
import { lstat, mkdir } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Where processes of one user on one host meet; undefined if the temporary directory has no such place. */
export const privateFolder = async (): Promise<string | undefined> => {
  const uid = process.getuid?.()
  const path = join(tmpdir(), `megatron-mimo-${uid ?? "user"}`)
  await mkdir(path, { mode: 0o700 }).catch(() => {})
  // Others can make a folder of any name there.
  const info = await lstat(path).catch(() => undefined)
  return info?.isDirectory() && info.uid === (uid ?? info.uid) && (info.mode & 0o077) === 0 ? path : undefined
}
