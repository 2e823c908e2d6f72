/**
 * Fuzz targets: whole directories with a few files changed, through the commands and on a real disk. What is refused must be
 * refused with nothing left behind; a model that is accepted must come back to the bit.
 */
import { Cause, Effect, Exit } from "effect"
import { rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { families } from "../../routes/index.ts"
import { verifyDeep } from "../../src/verify/deep/deep.ts"
import { examinePath } from "../../src/doctor/doctor.ts"
import type { BridgeError } from "../../src/errors.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { prepareRelabel } from "../../src/relabel/relabel.ts"
import { relabelTargets } from "../../src/relabel/rules/index.ts"
import { readSafetensors } from "../../src/safetensors/Reader.ts"
import type { Command } from "../hostile/corpus/Case.ts"
import { type FileSet, type Node, snapshot, writeFileSet } from "../hostile/corpus/FileSet.ts"
import { filesOf, sharded, single } from "../hostile/corpus/Hf.ts"
import { checkpointOf, filesOf as checkpointFiles } from "../hostile/corpus/Megatron.ts"
import { exportInto, quickDisk, run, soundOf, workFolder } from "../hostile/run.ts"
import { mutateBytes, mutateTree, print, type Tree } from "./mutate.ts"
import type { Random } from "./Random.ts"
import { type Target, Wrong } from "./Target.ts"

/** A change of a directory: the new content of files in base64; null removes one. */
interface Recipe {
  readonly base: string
  readonly changes: ReadonlyArray<readonly [name: string, content: string | null]>
}

const work = workFolder("fuzz")
const sound = await soundOf(work)

const models: Readonly<Record<string, FileSet>> = {
  llama: filesOf({ ...single("llama"), others: [["tokenizer.json", Buffer.from("{}")], ["generation_config.json", Buffer.from('{"eos_token_id": 2}')]] }),
  qwen2: filesOf(sharded("qwen2")),
  qwen3: filesOf(sharded("qwen3", 3))
}
const checkpoints: Readonly<Record<string, FileSet>> = { llama: checkpointFiles(await checkpointOf("llama")), qwen3: checkpointFiles(await checkpointOf("qwen3")) }

const isText = (name: string): boolean => /\.(json|txt|yaml)$/.test(name)

/** A header with some of it changed, and its length made right. */
const otherHeader = (file: Uint8Array, r: Random): Buffer => {
  const bytes = Buffer.from(file)
  const end = 8 + Number(bytes.readBigUInt64LE(0))
  const tree = JSON.parse(bytes.toString("utf8", 8, end)) as Tree
  const text = Buffer.from(print(mutateTree(tree, r, ["dtype", "shape", "data_offsets", "__metadata__", "model.norm.weight"])))
  const length = Buffer.alloc(8)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text, bytes.subarray(end)])
}

const changedFile = (name: string, bytes: Uint8Array, r: Random): Uint8Array | null => {
  if (r.chance(25)) return null
  if (name.endsWith(".json") && r.chance(2)) return Buffer.from(print(mutateTree(JSON.parse(Buffer.from(bytes).toString()) as Tree, r, ["weight_map", "architectures", "sharded_backend"])))
  if (name.endsWith(".safetensors") && r.chance(2)) return otherHeader(bytes, r)
  // What comes first is read first.
  const head = isText(name) || r.chance(2) ? bytes.length : Math.min(bytes.length, 3000)
  return Buffer.concat([mutateBytes(bytes.subarray(0, head), r), bytes.subarray(head)])
}

const make = (bases: Readonly<Record<string, FileSet>>) => (r: Random): Uint8Array => {
  const base = r.pick(Object.keys(bases))
  const files = [...bases[base]!].filter((file): file is [string, Uint8Array] => file[1] instanceof Uint8Array)
  const changes = new Map<string, string | null>()
  for (let times = 1 + r.below(2); times > 0; times--) {
    const [name, bytes] = r.pick(files)
    const content = changedFile(name, bytes, r)
    changes.set(name, content && Buffer.from(content).toString("base64"))
  }
  return Buffer.from(JSON.stringify({ base, changes: [...changes] } satisfies Recipe))
}

const filesIn = (bases: Readonly<Record<string, FileSet>>, { base, changes }: Recipe): FileSet => {
  const files = new Map<string, Node>(bases[base]!)
  for (const [name, content] of changes) {
    if (content === null) files.delete(name)
    else files.set(name, Buffer.from(content, "base64"))
  }
  return files
}

const done = <A>(effect: Effect.Effect<A, BridgeError, Disk>): Promise<Exit.Exit<A, BridgeError>> => Effect.runPromiseExit(effect.pipe(Effect.provide(quickDisk)))

/** Its typed error, if it has one; any other failure is thrown. */
const settle = async (effect: Effect.Effect<unknown, BridgeError, Disk>): Promise<void> => {
  const exit = await done(effect)
  if (Exit.isFailure(exit) && !Cause.hasFails(exit.cause)) throw Cause.squash(exit.cause)
}

const tensorsOf = (path: string) => Effect.runPromise(readSafetensors(path).pipe(Effect.provide(quickDisk)))

const comesBack = async (source: string, megatron: string): Promise<void> => {
  const copy = join(dirname(megatron), "copy")
  const exit = await done(exportInto(source, megatron, copy))
  if (Exit.isFailure(exit)) throw new Wrong(`imported, but not exported again: ${String(Cause.squash(exit.cause))}`)
  const [before, after] = [(await tensorsOf(source)).tensors, (await tensorsOf(copy)).tensors]
  for (const [name, tensor] of before) {
    const other = after.get(name)
    if (!other || other.dtype !== tensor.dtype || String(other.shape) !== String(tensor.shape) || Buffer.compare(other.data, tensor.data) !== 0) throw new Wrong(`${name} did not come back`)
  }
  if (after.size !== before.size) throw new Wrong(`${after.size} tensors came back of ${before.size}`)
}

/** Every command on the files; the errors of the last. */
const everyCommand = async (kind: "hf" | "megatron", files: FileSet, commands: ReadonlyArray<Command>, own: { readonly hf: string; readonly megatron: string }): Promise<void> => {
  let last: BridgeError | undefined
  for (const command of commands) {
    const { disturbed, error, target } = await run(work, command, { files, kind }, own)
    if (disturbed.length > 0) throw new Wrong(`${command} left ${disturbed.join(", ")} (${error?.message ?? "accepted"})`)
    const folder = dirname(target)
    if (!error && command === "import") await comesBack(join(folder, "source"), target)
    if (!error) rmSync(folder, { recursive: true, force: true })
    last = error ?? last
  }
  if (last) throw last
}

const options = { to: relabelTargets, examples: [], layout: (names: ReadonlyArray<string>) => resolveLayout([], names) }

/** What only looks, on a directory that is there: nothing may change. */
const looks = async (path: string): Promise<void> => {
  const before = snapshot(path)
  await settle(examinePath(families, path, []))
  await settle(verifyDeep(path))
  for (const to of relabelTargets) await settle(prepareRelabel(families, path, { ...options, to: [to] }))
  if (String(snapshot(path)) !== String(before)) throw new Wrong("looking changed something")
}

const target = (name: string, kind: "hf" | "megatron", bases: Readonly<Record<string, FileSet>>, commands: ReadonlyArray<Command>): Target => ({
  name,
  make: make(bases),
  few: 12,
  read: async (input) => {
    const recipe = JSON.parse(Buffer.from(input).toString()) as Recipe
    await everyCommand(kind, filesIn(bases, recipe), commands, sound[recipe.base as keyof typeof sound])
  }
})

const looking = (name: string, bases: Readonly<Record<string, FileSet>>): Target => ({
  name,
  make: make(bases),
  few: 12,
  read: async (input) => {
    const recipe = JSON.parse(Buffer.from(input).toString()) as Recipe
    const path = join(work, "looked-at")
    rmSync(path, { recursive: true, force: true })
    writeFileSet(path, filesIn(bases, recipe))
    await looks(path)
  }
})

export const directories: ReadonlyArray<Target> = [
  target("hf-directory", "hf", models, ["inspect", "import", "export"]),
  target("checkpoint-directory", "megatron", checkpoints, ["inspect", "export"]),
  looking("hf-examined", models),
  looking("checkpoint-examined", checkpoints)
]
