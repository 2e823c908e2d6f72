/** Where on this machine is remembered what is being written elsewhere: a small folder for each target, the journal in it. */
import { createHash } from "node:crypto"
import { homedir } from "node:os"
import { join } from "node:path"
import { canonical } from "../../remote/place.ts"
import { present } from "../../store/present.ts"
import type { Store } from "../../store/Store.ts"
import { JOURNAL, stagingOf } from "../staging/names.ts"

type StateEnvironment = Readonly<Record<string, string | undefined>>

/** `$XDG_STATE_HOME/megatron-mimo-bridge/uploads`, or the same below `~/.local/state`. */
export const stateDirectory = (env: StateEnvironment = process.env): string =>
  join(env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "megatron-mimo-bridge", "uploads")

/** What stands for a target in the names of staging folders. */
export const anchorOf = (target: string, directory = stateDirectory()): string =>
  join(directory, createHash("sha256").update(canonical(target)).digest("hex").slice(0, 32))

/** Has a run begun to write there that did not come to its end? What is there may look whole, and lack what names it. */
export const isBegun = async (disk: Store, target: string): Promise<boolean> =>
  await present(disk, join(stagingOf(anchorOf(target)), JOURNAL)) !== undefined
