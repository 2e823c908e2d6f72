/** Staging folders beside checkpoints: work under way, or what a process that is gone left behind. */
import { basename, join } from "node:path"
import { quote } from "../errors.ts"
import type { DiskCalls } from "../io/Disk.ts"
import { present } from "../store/present.ts"
import { standingOf } from "../publish/staging/folder.ts"
import { holderOf } from "../publish/staging/Lock.ts"
import { JOURNAL, REPLACED, STAGING_NAME } from "../publish/staging/names.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { shell } from "../checkpoint/shell.ts"

/** Staging folders in a directory; a directory that cannot be listed has none to tell of. */
export const stagingFolders = async (disk: DiskCalls, directory: string): Promise<ReadonlyArray<Diagnosis>> => {
  const names = await disk.list(directory).catch((): ReadonlyArray<string> => [])
  const found: Array<Diagnosis> = []
  for (const name of names) {
    const [, target, kind] = STAGING_NAME.exec(name) ?? []
    const path = join(directory, name)
    if (target === undefined) continue
    const standing = await standingOf(disk, path)
    if (standing.is === "foreign") {
      // Of a name that is only used once nothing depends on it.
      if (kind !== "partial") continue
      found.push(diagnosis("warning", "foreign-staging", `${quote(path)} has the name of a staging folder, but ${standing.why}: nothing can be written to ${quote(join(directory, target))}`, {
        fix: "Look at what it is, then move or remove it.",
        names: [path]
      }))
      continue
    }
    found.push(await describe(disk, path, join(directory, target), kind === "partial"))
  }
  return found
}

const describe = async (disk: DiskCalls, path: string, target: string, partial: boolean): Promise<Diagnosis> => {
  const [shown, of] = [quote(path), quote(basename(target))]
  if (!partial) {
    return diagnosis("warning", "discarded-staging", `${shown} is what a crash left of removing a staging folder`, { fix: "Remove it.", command: shell("rm", "-r", path), names: [path] })
  }
  const holder = await holderOf(disk, path)
  if (holder) return diagnosis("note", "staging-in-use", `${of} is being written by process ${holder.pid} on ${quote(holder.host)} since ${holder.since}`, { names: [path] })
  if ((await present(disk, join(path, REPLACED))) && !(await present(disk, target))) {
    return diagnosis("error", "half-replaced", `${of} was being replaced when its writer died: the former content is in ${quote(join(path, REPLACED))}`, {
      fix: "Run the command that wrote it again: it finishes the replacement first.",
      names: [path]
    })
  }
  const resumable = (await present(disk, join(path, JOURNAL))) !== undefined
  return diagnosis("warning", "stale-staging", `${shown} is unfinished work of a process that is gone`, {
    fix: resumable ? "Run the same command with --resume to go on, or remove it." : "Remove it.",
    command: shell("rm", "-r", path),
    names: [path]
  })
}
