/** What this machine can do: Node, memory, and what the file system of a directory allows. */
import { Effect } from "effect"
import { createRequire } from "node:module"
import { availableParallelism, freemem, totalmem } from "node:os"
import { join, resolve } from "node:path"
import { Arena, PAGE } from "../engine/index.ts"
import { IoError, NoSpace, quote } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { existing } from "../store/existing.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"
import { stagingFolders } from "./staging.ts"

/** Node that runs the sources and has the APIs used here. */
const OLDEST_NODE = [22, 19] as const
/** The engine's buffers, Node itself, and the headers of a large checkpoint. */
const LEAST_MEMORY = 512e6
const LEAST_DISK = 1e9

/** Optional packages, and what each is for; converting, checking and reporting need none of them. */
const OPTIONAL: ReadonlyArray<readonly [name: string, use: string]> = [
  ["@tensorflow/tfjs-node-gpu", "arithmetic of the forward check on a GPU"],
  ["@tensorflow/tfjs-node", "faster arithmetic of the forward check"],
  ["@huggingface/tokenizers", "texts in the forward check"]
]

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`

const nodeVersion = (version: string): Diagnosis => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const fits = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])
  return fits
    ? diagnosis("ok", "node", `Node ${version} on ${process.platform} ${process.arch}, ${availableParallelism()} CPUs`)
    : diagnosis("error", "node", `Node ${version} is too old`, { fix: `Install Node ${OLDEST_NODE.join(".")} or later.` })
}

const memory = (): Diagnosis => {
  // Zero or absurd without a limit.
  const limit = process.constrainedMemory()
  const total = limit > 0 && limit < totalmem() ? limit : totalmem()
  const free = Math.min(freemem(), total)
  const text = `${gigabytes(total)} of memory${total < totalmem() ? " (limit of this container)" : ""}, ${gigabytes(free)} free`
  return total < LEAST_MEMORY
    ? diagnosis("warning", "memory", text, { fix: "--max-memory 16MB makes do with less; very large indexes will not fit." })
    : diagnosis("ok", "memory", text)
}

const optional = (name: string, use: string): Diagnosis => {
  try {
    createRequire(import.meta.url).resolve(name)
    return diagnosis("ok", "optional", `${name} is installed (${use})`)
  } catch {
    return diagnosis("note", "optional", `${name} is not installed (optional: ${use})`)
  }
}

const refusal = (error: unknown): string => {
  if (error instanceof IoError) return error.errno
  if (error instanceof NoSpace) return "ENOSPC"
  throw error
}

/** What works in a directory of our own inside `directory`, which is removed again. */
const probe = async (disk: DiskCalls, directory: string): Promise<ReadonlyArray<Diagnosis>> => {
  const folder = join(directory, `.probe-${process.pid}-${crypto.randomUUID()}`)
  const shown = quote(directory)
  try {
    await disk.makeDirectory(folder)
  } catch (error) {
    return [diagnosis("warning", "not-writable", `${shown} cannot be written (${refusal(error)})`, { fix: "Name a directory that can: doctor --dir DIR" })]
  }
  try {
    return [await directIo(disk, folder, shown), await hardLinks(disk, folder, shown), await reflinks(disk, folder, shown), await durability(disk, folder, shown)]
  } finally {
    await disk.removeTree(folder)
  }
}

const directIo = async (disk: DiskCalls, folder: string, shown: string): Promise<Diagnosis> => {
  const arena = new Arena(PAGE)
  const range = await arena.take(PAGE)
  try {
    const file = await disk.open(join(folder, "direct"), "create", { direct: true })
    try {
      await file.write(arena.memory.u8.subarray(range.start, range.end), 0)
    } finally {
      await file.close()
    }
    return diagnosis("ok", "direct-io", `direct I/O works in ${shown}`)
  } catch (error) {
    return diagnosis("note", "direct-io", `no direct I/O in ${shown} (${refusal(error)}): files go through the page cache`)
  }
}

const hardLinks = async (disk: DiskCalls, folder: string, shown: string): Promise<Diagnosis> => {
  try {
    const file = await disk.open(join(folder, "one"), "create")
    await file.close()
    await disk.link(join(folder, "one"), join(folder, "two"))
    return diagnosis("ok", "links", `hard links work in ${shown} (relabel --link)`)
  } catch (error) {
    return diagnosis("note", "links", `no hard links in ${shown} (${refusal(error)}): relabel --link copies instead`)
  }
}

const reflinks = async (disk: DiskCalls, folder: string, shown: string): Promise<Diagnosis> => {
  try {
    const file = await disk.open(join(folder, "original"), "create")
    await file.close()
    await disk.clone(join(folder, "original"), join(folder, "clone"))
    return diagnosis("ok", "reflinks", `copies can share blocks in ${shown} (relabel without --link takes no room)`)
  } catch (error) {
    return diagnosis("note", "reflinks", `copies cannot share blocks in ${shown} (${refusal(error)}): they take time and room`)
  }
}

const durability = async (disk: DiskCalls, folder: string, shown: string): Promise<Diagnosis> => {
  try {
    await disk.syncDirectory(folder)
    return diagnosis("ok", "fsync", `directories can be made durable in ${shown}`)
  } catch (error) {
    return diagnosis("warning", "fsync", `directories cannot be synced in ${shown} (${refusal(error)})`, {
      fix: "A crash of the machine right after a conversion may lose it there; write to a local file system."
    })
  }
}

const space = async (disk: DiskCalls, directory: string): Promise<Diagnosis> => {
  const free = await disk.freeSpace(directory)
  const text = `${gigabytes(free)} free in ${quote(directory)}`
  return free < LEAST_DISK ? diagnosis("warning", "disk", text, { fix: "A conversion needs as much as the model has bytes." }) : diagnosis("ok", "disk", text)
}

/** Examine the machine as seen from `directory`, which must exist. */
export const examineMachine = Effect.fnUntraced(function*(directory: string) {
  const disk = yield* Disk
  const path = resolve(directory)
  yield* reading(() => existing(disk, path, directory))
  return yield* reading(async (): Promise<ReadonlyArray<Diagnosis>> => [
    nodeVersion(process.versions.node),
    memory(),
    await space(disk, path),
    ...await probe(disk, path),
    ...OPTIONAL.map(([name, use]) => optional(name, use)),
    ...await stagingFolders(disk, path)
  ])
})
