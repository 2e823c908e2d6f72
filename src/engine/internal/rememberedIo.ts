/**
 * What was found out about file systems, kept for later runs in the user's cache directory. It is only a hint: a file that is damaged,
 * strange or old says nothing, and one that cannot be written is no error.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { Effect, Scope } from "effect"
import { z } from "zod"
import { parseJson } from "../../document/StrictJson.ts"
import { RemembersIo } from "../../io/RemembersIo.ts"
import { IoRecord, IoRecordInUse, type IoSide, type KnownIo } from "./IoWays.ts"

/** Bytes of the file. */
const LARGEST = 64 << 10
/** File systems and sides that are remembered: those measured last. */
const MOST = 64
/** Milliseconds: disks are exchanged, shares move to other servers. */
const EXPIRES = 30 * 24 * 3600 * 1000

const waySchema = z.object({
  direct: z.boolean(),
  inFlight: z.int().min(1).max(256),
  bytes: z.number().nonnegative(),
  /** Bytes per second. */
  rate: z.number().positive().max(1e13)
})
const entrySchema = z.object({
  side: z.enum(["source", "target"]),
  fileSystem: z.string().max(4096),
  /** Milliseconds since 1970. */
  measured: z.number().positive(),
  ways: z.array(waySchema).max(8)
})
const fileSchema = z.object({ version: z.literal(1), entries: z.array(entrySchema).max(MOST) })
type Entry = z.infer<typeof entrySchema>

/** `$XDG_CACHE_HOME/megatron-mimo-bridge/io.json`, or the same below `~/.cache`. */
const pathOf = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "megatron-mimo-bridge", "io.json")

/** The bytes of a regular file that is not too large; throws otherwise. */
const readBounded = (path: string): Uint8Array => {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const info = fstatSync(file)
    if (!info.isFile() || info.size > LARGEST) throw new Error("not a file of ours")
    const bytes = new Uint8Array(info.size)
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.byteLength, 0))
  } finally {
    closeSync(file)
  }
}

const entriesIn = (path: string, now: number): ReadonlyArray<Entry> => {
  try {
    const { entries } = fileSchema.parse(parseJson(readBounded(path), { maxBytes: LARGEST, maxDepth: 8, maxValues: 10_000 }))
    return entries.filter(({ measured }) => measured <= now && now - measured < EXPIRES)
  } catch {
    return []
  }
}

/** What earlier runs found out; read when it is first asked for. */
export const rememberedIo = (env: Readonly<Record<string, string | undefined>> = process.env): KnownIo => {
  let entries: ReadonlyArray<Entry> | undefined
  return (side, fileSystem) => (entries ??= entriesIn(pathOf(env), Date.now())).find((it) => it.side === side && it.fileSystem === fileSystem)?.ways ?? []
}

/** Keep what a run has found out beside what others did. Another run that saves at the same time may win. */
export const rememberIo = ({ observed }: Pick<IoRecord, "observed">, env: Readonly<Record<string, string | undefined>> = process.env): void => {
  const now = Date.now()
  const found = observed
    .filter(({ ways }) => ways.some(({ bytes }) => bytes > 0))
    .map(({ fileSystem: { key }, side, ways }): Entry => ({ side, fileSystem: key, measured: now, ways: [...ways] }))
  if (found.length === 0) return
  const path = pathOf(env)
  const isFound = (side: IoSide, fileSystem: string): boolean => found.some((it) => it.side === side && it.fileSystem === fileSystem)
  const kept = entriesIn(path, now).filter((it) => !isFound(it.side, it.fileSystem))
  const entries = [...found, ...kept.toSorted((a, b) => b.measured - a.measured)].slice(0, MOST)
  const temporary = `${path}.${process.pid}`
  possibly(() => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(temporary, JSON.stringify({ version: 1, entries }), { flag: "wx", mode: 0o600 })
    renameSync(temporary, path)
  })
  possibly(() => rmSync(temporary, { force: true }))
}

/** Run something whose failure does not matter. */
const possibly = (act: () => void): void => {
  try {
    act()
  } catch { /* The next run finds out by itself. */ }
}

/** The record in use. If there is none: a new one for this scope, which is saved at its end if it is wanted for later runs. */
export const ioRecord: Effect.Effect<IoRecord, never, Scope.Scope> = Effect.gen(function*() {
  const inUse = yield* IoRecordInUse
  if (inUse) return inUse
  const remembers = yield* RemembersIo
  return yield* Effect.acquireRelease(
    Effect.sync(() => new IoRecord(remembers ? rememberedIo() : undefined)),
    (record) => Effect.sync(() => { if (remembers) rememberIo(record) })
  )
})

/** Run with one record of what is found out about disks, however many times the engine is called. */
export const recordingIo = <A, E, R>(use: (record: IoRecord) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(ioRecord, (record) => use(record).pipe(Effect.provideService(IoRecordInUse, record))))
