/**
 * Before the k-th call another program does something to the target or to the staging folder. Nothing that it put there or moved is
 * ever lost, nothing that is not whole is published, and nothing is done in a place that a link leads to.
 *
 * Two moments are left out, as docs/crash-safety.md says: that between the look at a file that is being written and the write, and that
 * between the last look at the data and the rename, in which a link in its place is renamed instead (and reported).
 */
import { join } from "node:path"
import { faultyDisk, type Call } from "./FaultyDisk.ts"
import { stagingOf } from "../../src/publish/staging/names.ts"
import { differences } from "./checks.ts"
import { callsOf, type WalkResult } from "./faultWalk.ts"
import type { MemoryFileSystem } from "./MemoryFileSystem.ts"
import type { World } from "./worlds.ts"

const THEIRS = Buffer.from("theirs")
const [VICTIM, MOVED] = ["/w/victim", "/w/moved"]

interface Place {
  readonly fs: MemoryFileSystem
  readonly world: World
  readonly target: string
  readonly staging: string
}

interface Deed {
  readonly name: string
  /** False: there was nothing to do it to. The calls of the file system in memory are done when they return. */
  readonly act: (place: Place, next: Call) => boolean
  /** What must be found afterwards, by path. */
  readonly keeps: (place: Place) => ReadonlyMap<string, string>
  /** The target may hold more than what is published, or something else than it held. */
  readonly atTarget?: boolean
  /** Names that what is published may have as well. */
  readonly adds?: ReadonlyArray<string>
}

const done = (...calls: ReadonlyArray<Promise<unknown>>): true => {
  for (const call of calls) void call.catch(() => {})
  return true
}
const put = (fs: MemoryFileSystem, path: string, bytes: Uint8Array = THEIRS): Promise<unknown> =>
  fs.calls.open(path, "create").then(async (file) => {
    await file.write(bytes, 0)
    await file.close()
  })
/** `create` has given the file its name before it returns; so its content must not wait. */
const putNow = (fs: MemoryFileSystem, path: string): void => {
  done(put(fs, path, new Uint8Array(0)))
  fs.edit(path, () => THEIRS)
}
const theirs = (...paths: ReadonlyArray<string>) => new Map(paths.map((path) => [path, "theirs"]))

/** A file of the data that the engine has begun. */
const stagedFile = ({ fs, staging }: Place, next: Call): string | undefined => {
  const name = [...fs.files(staging).keys()].find((file) => /^data\/.*\.(distcp|safetensors)$/.test(file))
  const path = name === undefined ? undefined : join(staging, name)
  return path === next.path && (next.operation === "write" || next.operation === "truncate") ? undefined : path
}
const toFile = (act: (place: Place, path: string) => void): Deed["act"] => (place, next) => {
  const path = stagedFile(place, next)
  if (path !== undefined) act(place, path)
  return path !== undefined
}
const nothing = () => new Map<string, string>()

const deeds: ReadonlyArray<Deed> = [
  {
    name: "an iteration is added",
    atTarget: true,
    act: ({ fs, target }) => {
      if (!fs.has(target)) return false
      done(fs.calls.makeDirectory(join(target, "iter_0000100")))
      putNow(fs, join(target, "iter_0000100/model"))
      return true
    },
    keeps: ({ target }) => theirs(join(target, "iter_0000100/model"))
  },
  {
    name: "the tracker is moved on",
    atTarget: true,
    act: ({ fs, target }) => {
      const tracker = join(target, "latest_checkpointed_iteration.txt")
      if (!fs.has(tracker)) return false
      fs.edit(tracker, () => THEIRS)
      return true
    },
    keeps: ({ target }) => theirs(join(target, "latest_checkpointed_iteration.txt"))
  },
  {
    name: "the target is moved away",
    atTarget: true,
    act: ({ fs, target }) => {
      if (!fs.has(target)) return false
      putNow(fs, join(target, "mark"))
      return done(fs.calls.rename(target, MOVED))
    },
    keeps: () => theirs(join(MOVED, "mark"))
  },
  {
    name: "another directory takes its place",
    atTarget: true,
    act: ({ fs, target }) => {
      if (fs.has(target)) done(fs.calls.rename(target, MOVED))
      else if (!fs.has(join(target, ".."))) return false
      done(fs.calls.makeDirectory(target))
      putNow(fs, join(target, "config.json"))
      return true
    },
    keeps: ({ target }) => theirs(join(target, "config.json"))
  },
  {
    name: "a link takes its place",
    atTarget: true,
    act: ({ fs, target }) => {
      if (fs.has(target)) done(fs.calls.rename(target, MOVED))
      else if (!fs.has(join(target, ".."))) return false
      fs.symlink(VICTIM, target)
      return true
    },
    keeps: () => theirs(`${VICTIM}/data/model`)
  },
  { name: "a staged file is cut", act: toFile(({ fs }, path) => fs.edit(path, (bytes) => bytes.slice(0, bytes.byteLength / 2))), keeps: nothing },
  { name: "a staged file is removed", act: toFile(({ fs }, path) => done(fs.calls.remove(path))), keeps: nothing },
  {
    name: "a staged file is replaced by another of its length",
    act: toFile(({ fs }, path) => {
      const size = fs.files(join(path, "..")).get(path.slice(path.lastIndexOf("/") + 1))!.byteLength
      done(fs.calls.remove(path))
      putNow(fs, path)
      fs.edit(path, () => new Uint8Array(size))
    }),
    keeps: nothing
  },
  {
    name: "a staged file becomes a link",
    act: toFile(({ fs }, path) => {
      done(fs.calls.remove(path))
      fs.symlink(`${VICTIM}/data/model`, path)
    }),
    keeps: () => theirs(`${VICTIM}/data/model`)
  },
  {
    name: "an iteration is added to the staged data",
    adds: ["iter_0000100/", "iter_0000100/model"],
    act: ({ fs, staging }) => {
      if (!fs.has(join(staging, "data"))) return false
      done(fs.calls.makeDirectory(join(staging, "data/iter_0000100")))
      putNow(fs, join(staging, "data/iter_0000100/model"))
      return true
    },
    keeps: nothing
  },
  {
    name: "the staging folder is moved away",
    act: ({ fs, staging }) => fs.has(staging) && done(fs.calls.rename(staging, MOVED)),
    keeps: nothing
  },
  {
    name: "the staging folder becomes a link",
    act: ({ fs, staging }) => {
      if (!fs.has(staging)) return false
      done(fs.calls.rename(staging, MOVED))
      fs.symlink(VICTIM, staging)
      return true
    },
    keeps: () => theirs(`${VICTIM}/data/model`)
  },
  {
    name: "the staged data becomes a link",
    act: ({ fs, staging, target }, next) => {
      if (!fs.has(join(staging, "data")) || (next.operation === "rename" && next.path === target)) return false
      done(fs.calls.rename(join(staging, "data"), MOVED))
      fs.symlink(`${VICTIM}/data`, join(staging, "data"))
      return true
    },
    keeps: () => theirs(`${VICTIM}/data/model`)
  }
]

export interface NeighbourOptions {
  readonly points: number
  /** The part of a run, from its end, in which most of them are. */
  readonly tail?: number
}

export const neighbourWalk = async (world: World, { points, tail = 60 }: NeighbourOptions): Promise<ReadonlyMap<string, WalkResult>> => {
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>()
  const calls = await callsOf(world, 1)
  const total = calls.length
  // What was done before the work began is what --overwrite was told to replace.
  const begin = calls.findIndex((call) => call.path.endsWith("/journal"))
  for (const deed of deeds) {
    const result = { points: 0, failed: 0, problems: new Array<string>() }
    results.set(deed.name, result)
    for (let i = 0; i < points; i++) {
      // Every third one somewhere in the run, the others in the commit.
      const at = i % 3 === 0 ? begin + Math.floor((i + 0.5) * (total - begin) / points) : total - 1 - Math.floor(i * tail / points)
      await walkOne(world, deed, at, result)
    }
  }
  return results
}

const walkOne = async (world: World, deed: Deed, at: number, result: { points: number; failed: number; problems: Array<string> }): Promise<void> => {
  const fs = world.before.clone()
  await fs.calls.makeDirectory(VICTIM)
  await fs.calls.makeDirectory(`${VICTIM}/data`)
  putNow(fs, `${VICTIM}/data/model`)
  const place: Place = { fs, world, target: world.target, staging: stagingOf(world.target) }
  let acted: Call | undefined
  const outcome = await world.run(faultyDisk(fs.calls, (call) => {
    if (acted === undefined && call.index >= at && deed.act(place, call)) acted = call
    return undefined
  }))
  if (acted === undefined) return
  result.points++
  if (outcome.status === "refused") result.failed++
  const { index, operation, path } = acted
  const problem = (text: string) => result.problems.push(`${world.name}, ${deed.name} before call ${index} (${operation} ${path}): ${text}`)
  if (outcome.status === "defect" || outcome.status === "hang") problem(outcome.message)
  const everything = fs.files("/")
  for (const [kept, content] of deed.keeps(place)) {
    if (Buffer.from(everything.get(kept.slice(1)) ?? []).toString() !== content) problem(`${kept} is lost`)
  }
  if (deed.atTarget) return
  const found = fs.files(world.target)
  // Added just before the rename or just after it: nobody can tell.
  for (const name of deed.adds ?? []) found.delete(name)
  const isNew = differences(found, world.expected).length === 0
  if (outcome.status === "done" && !isNew) problem(`something else was published: ${differences(found, world.expected).slice(0, 3).join(", ")}`)
  // Whoever moves the staging folder away between the two renames has the former content.
  const theyHaveIt = world.former !== undefined && differences(fs.files(join(MOVED, "replaced")), world.former).length === 0
  const isOld = theyHaveIt || (world.former === undefined ? !fs.has(world.target) : differences(found, world.former).length === 0)
  if (outcome.status === "refused" && !isNew && !isOld) problem(`after ${outcome.message} the target is neither old nor new`)
}
