/**
 * Reads a whole checkpoint again and compares it with the checksums that were written with it. A Megatron checkpoint without
 * them, from a trainer for example, has at least the CRC-32 that its items carry.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { basename, dirname, join } from "node:path"
import { z } from "zod"
import { worldProgress } from "../../cluster/progress.ts"
import { currentWorld } from "../../cluster/single.ts"
import { eachUnit } from "../../cluster/World.ts"
import { iterationFolder, iterationOf, METADATA, TRACKER } from "../../checkpoint/names.ts"
import { SUM_BLOCK } from "../../engine/index.ts"
import { InvalidFile, IoError, quote } from "../../errors.ts"
import { reading } from "../../io/attempt.ts"
import { existing } from "../../store/existing.ts"
import type { Store } from "../../store/Store.ts"
import { readFully } from "../../store/Store.ts"
import { present } from "../../store/present.ts"
import { readSmall } from "../../store/readSmall.ts"
import { storeToRead } from "../../publish/staging/storeToRead.ts"
import { crc32 } from "../../torch/Crc32.ts"
import { type Checksums, decodeChecksums, type FileChecksums, LARGEST_CHECKSUMS } from "../../publish/integrity/Checksums.ts"
import { blockDamage, type Damage, damageSchema, someOf } from "./Damage.ts"
import type { DeepOptions, DeepReport } from "./DeepReport.ts"
import { deepItems } from "./items.ts"
import { CHECKSUMS } from "../../publish/integrity/names.ts"

export type { DeepOptions, DeepReport }

const CONCURRENCY = 4

/** A file to be read, and how to name what is found in it. */
interface Task {
  readonly path: string
  readonly shown: string
  readonly file: FileChecksums
  readonly checksums: Checksums
}

/**
 * Check everything at `path`: an HF directory, a Megatron checkpoint or one iteration of it. In a job of several processes they share
 * the files, and rank 0 has the whole report; the others have what they found themselves.
 *
 * @throws InvalidFile `integrity/no-checksums` if there is nothing to compare with; what opening a checkpoint throws.
 */
export const verifyDeep = Effect.fnUntraced(function*(path: string, options: DeepOptions = {}) {
  const store = yield* storeToRead(path)
  const { damaged, folders } = yield* reading(async () => {
    if ((await existing(store, path)).kind !== "directory") throw new InvalidFile({ path, code: "integrity/not-a-directory", problem: "is not a directory" })
    return readChecksums(store, path)
  })
  if (folders.length === 0 && damaged.length === 0) {
    const names = yield* reading(() => store.list(path))
    if (names.includes(METADATA) || names.some((name) => iterationOf(name) !== undefined || name === "release")) return yield* deepItems(path, options)
    return yield* new InvalidFile({
      path,
      code: "integrity/no-checksums",
      problem: "has no checksums to compare with",
      hint: `import writes them, export does with --checksum. \`verify A B\` compares two checkpoints.`
    })
  }
  const { notes, tasks } = yield* reading(() => tasksOf(store, folders))
  const bytes = tasks.reduce((sum, t) => sum + t.file.size, 0)
  const world = yield* currentWorld
  yield* world.agree("checksums", digestOf(tasks))
  if (world.rank === 0) options.onSize?.(bytes)
  const work = world.work("files", tasks.map(({ file }) => file.size), z.array(damageSchema))
  const own: Array<Damage> = []
  yield* worldProgress(world, options.progress, (progress) => {
    const worker = eachUnit(work, (unit) => reading(async (signal) => {
      // Each its own: what was interrupted may still be read into.
      const found = await checkFile(store, tasks[unit]!, new Uint8Array(SUM_BLOCK), progress, signal)
      own.push(...found)
      return world.size > 1 ? someOf(found) : [...found]
    }))
    return Effect.all(Array.from({ length: options.concurrency ?? CONCURRENCY }, () => worker), { concurrency: "unbounded", discard: true })
  })
  const all = yield* work.results()
  const damages = [...damaged, ...all?.flat() ?? own]
  return {
    path,
    against: "checksums",
    files: tasks.length,
    tensors: folders.reduce((sum, f) => sum + f.checksums.tensors.length, 0),
    bytes,
    damages: damages.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : (a.begin ?? 0) - (b.begin ?? 0))),
    notes: world.size > 1 ? [...notes, ...world.notes()] : notes
  } satisfies DeepReport as DeepReport
})

type SummedFolder = Awaited<ReturnType<typeof readChecksums>>["folders"][number]

/** Every file that has checksums, in an order that does not depend on who looks. */
const tasksOf = async (store: Store, folders: ReadonlyArray<SummedFolder>) => {
  const notes: Array<string> = []
  const tasks: Array<Task> = []
  for (const { checksums, directory, prefix } of folders) {
    for (const file of checksums.files) tasks.push({ path: join(directory, file.name), shown: prefix + file.name, file, checksums })
    if (prefix !== "" && await isCurrent(store, directory)) {
      for (const file of checksums.parent) tasks.push({ path: join(dirname(directory), file.name), shown: file.name, file, checksums })
    }
    const extra = await notListed(store, directory, checksums)
    if (extra.length > 0) notes.push(`without checksums: ${extra.slice(0, 5).map((name) => quote(prefix + name)).join(", ")}${extra.length > 5 ? `, … (${extra.length} files)` : ""}`)
  }
  return { notes, tasks }
}

/** The same in processes that see the same checksums. */
const digestOf = (tasks: ReadonlyArray<Task>): string => {
  const hash = createHash("sha256")
  for (const { file, shown } of tasks) hash.update(`${JSON.stringify([shown, file.size])}${file.blocks}\n`)
  return hash.digest("hex")
}

/** The checksums in a folder itself, or in each of its iterations. */
const readChecksums = async (store: Store, path: string) => {
  const names = await store.list(path)
  const prefixes = names.includes(CHECKSUMS) ? [""] : names.filter((name) => iterationOf(name) !== undefined || name === "release").map((name) => `${name}/`)
  const folders: Array<{ readonly directory: string; readonly prefix: string; readonly checksums: Checksums }> = []
  const damaged: Array<Damage> = []
  for (const prefix of prefixes) {
    const directory = join(path, prefix)
    const file = join(directory, CHECKSUMS)
    if (!await present(store, file)) continue
    try {
      folders.push({ directory, prefix, checksums: decodeChecksums(file, await readSmall(store, file, file, LARGEST_CHECKSUMS)) })
    } catch (error) {
      if (!(error instanceof InvalidFile)) throw error
      damaged.push({ file: prefix + CHECKSUMS, problem: "content", detail: error.problem })
    }
  }
  return { folders, damaged }
}

/** Trackers are rewritten by every save: they are compared as long as they do not name another iteration that is there. */
const isCurrent = async (store: Store, directory: string): Promise<boolean> => {
  const parent = dirname(directory)
  const path = join(parent, TRACKER)
  const text = await readSmall(store, path, path, 1024).then((bytes) => Buffer.from(bytes).toString("latin1").trim(), () => "")
  const named = /^\d{1,15}$/.test(text) ? iterationFolder(Number(text)) : text
  return named === basename(directory) || !(await store.list(parent)).includes(named)
}

const notListed = async (store: Store, directory: string, { files }: Checksums): Promise<ReadonlyArray<string>> => {
  const known = new Set([CHECKSUMS, ...files.map((f) => f.name)])
  const folders = new Set(files.flatMap((f) => (f.name.includes("/") ? [f.name.slice(0, f.name.indexOf("/"))] : [])))
  return (await store.list(directory)).filter((name) => !known.has(name) && !folders.has(name))
}

const checkFile = async (store: Store, { checksums, file, path, shown }: Task, buffer: Uint8Array, progress: (bytes: number) => void, signal: AbortSignal): Promise<ReadonlyArray<Damage>> => {
  const found = await present(store, path)
  if (!found) return [{ file: shown, problem: "missing", detail: "the file is not there" }]
  const handle = await store.open(path, "read")
  try {
    const { size } = await handle.info()
    if (size !== file.size) {
      return [{ file: shown, problem: "size", detail: `${size} bytes instead of ${file.size}`, begin: Math.min(size, file.size), end: Math.max(size, file.size) }]
    }
    const damages: Array<Damage> = []
    const isDamaged = async (tensor: Checksums["tensors"][number]): Promise<boolean> => {
      let crc = 0
      for (let at = tensor.begin; at < tensor.end; at += buffer.byteLength) {
        const part = buffer.subarray(0, Math.min(buffer.byteLength, tensor.end - at))
        await readFully(handle, part, at)
        crc = crc32(part, crc)
      }
      return crc !== Number.parseInt(tensor.crc32, 16)
    }
    for (let begin = 0, block = 0; begin < size; begin += checksums.block, block++) {
      signal.throwIfAborted()
      const end = Math.min(size, begin + checksums.block)
      const part = (end - begin <= buffer.byteLength ? buffer : new Uint8Array(end - begin)).subarray(0, end - begin)
      try {
        await readFully(handle, part, begin)
      } catch (error) {
        if (!(error instanceof IoError)) throw error
        damages.push({ file: shown, problem: "unreadable", detail: error.message, begin, end })
        continue
      }
      progress(part.byteLength)
      const [actual, expected] = [crc32(part), Number.parseInt(file.blocks.slice(block * 8, block * 8 + 8), 16)]
      // Tensors are named by the file as the checksums know it.
      if (actual !== expected) {
        const damage = await blockDamage(file.name, { begin, end, expected, actual }, checksums.tensors, isDamaged)
        damages.push({ ...damage, file: shown })
      }
    }
    return damages
  } finally {
    await handle.close()
  }
}
