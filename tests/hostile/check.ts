/** What is expected of every bad case and of every good one. */
import { Effect } from "effect"
import { rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { expect } from "vitest"
import type { BridgeError } from "../../src/errors.ts"
import { readSafetensors } from "../../src/safetensors/Reader.ts"
import type { BadCase, Command, GoodCase } from "./corpus/Case.ts"
import { exportInto, quickDisk, run, type Sound, type Subject } from "./run.ts"

/** For one case; machines that run tests are busy. */
const SLOWEST_MS = 5000

export interface World {
  /** Of the rejections so far. */
  readonly codes: Set<string>
  readonly work: string
  readonly sound: Readonly<Record<string, Sound>>
  /** Rejections that name a byte, those that name another place, and those that name none. */
  readonly places: { byte: number; named: number; readonly without: Array<string> }
}

const countPlace = ({ codes, places, work }: World, error: BridgeError | undefined): void => {
  if (error === undefined) return
  codes.add(error.code)
  if (/\bbyte \d+/.test(error.message)) places.byte++
  // What is about a path as such (a link, a folder, a file that is not there) has no inside; what is missing from a model is a tensor.
  else if (/\(field |\btensor/.test(error.message) || error.message.includes(`${work}/`)) places.named++
  else places.without.push(error.message)
}

/** Of all rejections so far most name the byte, and nearly all a byte, a field, a tensor or the path that is wrong. */
export const namesPlaces = ({ places: { byte, named, without } }: World): void => {
  const all = byte + named + without.length
  expect(all).toBeGreaterThan(100)
  expect(byte / all).toBeGreaterThan(0.8)
  expect((byte + named) / all, without.slice(0, 20).join("\n")).toBeGreaterThan(0.98)
}

const soundFor = ({ sound }: World, { architecture = "llama" }: Pick<BadCase, "architecture">): Sound => sound[architecture]!

/** Refused with one clear message that names what it should, nothing left behind, nothing changed. */
export const isRefused = async (world: World, kind: Subject["kind"], command: Command, bad: BadCase): Promise<void> => {
  const { disturbed, error, milliseconds } = await run(world.work, command, { files: bad.files(), kind, ...(bad.path === undefined ? {} : { path: bad.path }) }, soundFor(world, bad))
  const message = error?.message ?? "(accepted)"
  countPlace(world, error)
  expect.soft(bad.says.filter((text) => !message.includes(text)), message).toEqual([])
  expect.soft(message).not.toMatch(/\n\s+at |undefined|\[object|NaN bytes|\bat async\b/)
  expect.soft(message.length).toBeLessThan(8000)
  // eslint-disable-next-line no-control-regex
  expect.soft(message.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f\u202e]/)
  expect.soft([2, 3, 4, 5, 7]).toContain(error?.exitCode)
  expect.soft(disturbed).toEqual([])
  expect.soft(milliseconds).toBeLessThan(SLOWEST_MS)
}

const tensorsOf = (path: string) => Effect.runPromise(readSafetensors(path).pipe(Effect.provide(quickDisk)))

/** Every tensor of `original` is in `copy` with the same dtype, shape and bytes, and no other. */
const sameTensors = async (original: string, copy: string): Promise<void> => {
  const [a, b] = [(await tensorsOf(original)).tensors, (await tensorsOf(copy)).tensors]
  expect([...b.keys()].sort()).toEqual([...a.keys()].sort())
  for (const [name, { data, dtype, shape }] of a) {
    const other = b.get(name)!
    expect([name, other.dtype, other.shape]).toEqual([name, dtype, shape])
    expect(Buffer.compare(other.data, data), name).toBe(0)
  }
}

const accepted = async (world: World, command: Command, subject: Subject, sound: Sound): Promise<string> => {
  const { disturbed, error, target } = await run(world.work, command, subject, sound)
  expect(error?.message).toBe(undefined)
  expect(disturbed).toEqual([])
  return target
}

/** Accepted by every command, and bit-exact on the way to Megatron and back. */
export const isGoodModel = async (world: World, good: GoodCase): Promise<void> => {
  const subject: Subject = { files: good.files(), kind: "hf", ...(good.path === undefined ? {} : { path: good.path }) }
  const sound = soundFor(world, good)
  await accepted(world, "inspect", subject, sound)
  if (good.inspectOnly) return
  const megatron = await accepted(world, "import", subject, sound)
  const source = join(dirname(megatron), "source", good.path ?? "")
  const copy = join(dirname(megatron), "copy")
  await Effect.runPromise(exportInto(source, megatron, copy).pipe(Effect.provide(quickDisk)))
  await sameTensors(good.pickled ? sound.hf : source, copy)
  rmSync(dirname(megatron), { recursive: true })
}

/** Accepted by every command, and the tensors are those of the model. */
export const isGoodCheckpoint = async (world: World, good: GoodCase): Promise<void> => {
  const subject: Subject = { files: good.files(), kind: "megatron", ...(good.path === undefined ? {} : { path: good.path }) }
  const sound = soundFor(world, good)
  await accepted(world, "inspect", subject, sound)
  const copy = await accepted(world, "export", subject, sound)
  await sameTensors(sound.hf, copy)
  rmSync(dirname(copy), { recursive: true })
}
