/** Runs a command on the files of a case, in this process, and looks at what it left behind. */
import { Cause, Effect, Exit, Layer } from "effect"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { families } from "../../routes/index.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { type BridgeError, isBridgeError } from "../../src/errors.ts"
import { inspection } from "../../src/inspect/Inspection.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { cpuMsUntil } from "../measure/cpu.ts"
import type { Command } from "./corpus/Case.ts"
import { type FileSet, snapshot, writeFileSet } from "./corpus/FileSet.ts"
import { filesOf, single } from "./corpus/Hf.ts"
import { type Architecture, architectures } from "./corpus/Toy.ts"

const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

export const importInto = (hf: string, target: string) =>
  prepareImport(families, hf, { ...options, form: "auto", layout: () => standardLayout({}), step: 0 })
    .pipe(Effect.flatMap((prepared) => prepared.run(target, { overwrite: false })))

export const exportInto = (hf: string, megatron: string, target: string) =>
  prepareExport(families, hf, megatron, options).pipe(Effect.flatMap((prepared) => prepared.run(target, { overwrite: false })))

export const inspect = (path: string) => openSpace(path).pipe(Effect.map((space) => inspection(space, { boxes: true })))

/** The file system without waiting for it: what is durable is for other tests. */
export const quickDisk: Layer.Layer<Disk> = Layer.succeed(Disk, {
  ...nodeCalls,
  syncDirectory: () => Promise.resolve(),
  open: async (...args) => ({ ...await nodeCalls.open(...args), sync: () => Promise.resolve() })
})

/** A directory that goes away with the tests. */
export const workFolder = (name: string): string => {
  const path = mkdtempSync(join(tmpdir(), `${name}-`))
  process.once("exit", () => rmSync(path, { recursive: true, force: true }))
  return path
}

export interface Subject {
  readonly files: FileSet
  readonly path?: string
  /** The files are a Hugging Face directory or a Megatron checkpoint. */
  readonly kind: "hf" | "megatron"
}

export interface Outcome {
  /** Undefined: accepted. */
  readonly error: BridgeError | undefined
  readonly milliseconds: number
  /** What is there now and was not, or is not any more, or has changed. */
  readonly disturbed: ReadonlyArray<string>
  /** What the command wrote, if it was accepted. */
  readonly target: string
}

/** A sound model and a checkpoint of it, for the side of an export that is not under test. */
export interface Sound {
  readonly hf: string
  readonly megatron: string
}

export const soundOf = async (work: string): Promise<Readonly<Record<Architecture, Sound>>> => {
  const made = await Promise.all(architectures.map(async (architecture) => {
    const [hf, megatron] = [join(work, `${architecture}-hf`), join(work, `${architecture}-megatron`)]
    writeFileSet(hf, filesOf(single(architecture)))
    await Effect.runPromise(importInto(hf, megatron).pipe(Effect.provide(quickDisk)))
    return [architecture, { hf, megatron }] as const
  }))
  return Object.fromEntries(made) as Record<Architecture, Sound>
}

let number = 0

/** Throws what is no error of ours. */
export const run = async (work: string, command: Command, subject: Subject, sound: Sound): Promise<Outcome> => {
  const folder = join(work, `case-${number++}`)
  const [source, target] = [join(folder, "source"), join(folder, "target")]
  writeFileSet(source, subject.files)
  const before = snapshot(source)
  const path = join(source, subject.path ?? "")
  const effect: Effect.Effect<unknown, BridgeError, Disk> =
    command === "inspect" ? inspect(path)
    : command === "import" ? importInto(path, target)
    : subject.kind === "hf" ? exportInto(path, sound.megatron, target)
    : exportInto(sound.hf, path, target)
  let exit: Exit.Exit<unknown, BridgeError> = Exit.void
  const milliseconds = await cpuMsUntil(async () => { exit = await Effect.runPromiseExit(effect.pipe(Effect.provide(quickDisk))) })
  const error: unknown = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  if (error !== undefined && !isBridgeError(error)) throw error
  const after = snapshot(source)
  const expected = error === undefined && command !== "inspect" ? ["source", "target"] : ["source"]
  const disturbed = [
    ...before.filter((line) => !after.includes(line)),
    ...after.filter((line) => !before.includes(line)),
    ...readdirSync(folder).filter((name) => !expected.includes(name)),
    ...(existsSync(target) === expected.includes("target") ? [] : [target])
  ]
  if (error !== undefined) rmSync(folder, { recursive: true })
  return { error, milliseconds, disturbed, target }
}
