/**
 * Command lines in this process: what each prints, where, and with which exit code. A process each would take a second; those tests
 * that need one (signals, streams that fail, memory) start it themselves.
 */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { Effect, type Layer } from "effect"
import { program } from "../../src/cli/main.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"

export interface Finished {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Circumstances {
  /** Working directory. */
  readonly cwd?: string
  /** Set, or (undefined) taken away, while the command runs. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly disk?: Layer.Layer<Disk>
}

/** Files 1 and 2 of this process while `work` runs. */
const streamsOf = async (work: () => Promise<unknown>): Promise<readonly [out: string, err: string]> => {
  const texts = ["", "", ""]
  const real = fs.writeSync
  fs.writeSync = ((fd: number, bytes: Uint8Array, ...rest: ReadonlyArray<never>) => {
    if (fd !== 1 && fd !== 2) return real(fd, bytes, ...rest)
    texts[fd] += Buffer.from(bytes).toString()
    return bytes.byteLength
  }) as typeof fs.writeSync
  syncBuiltinESMExports()
  try {
    await work()
  } finally {
    fs.writeSync = real
    syncBuiltinESMExports()
  }
  return [texts[1]!, texts[2]!]
}

const withEnvironment = async <A>(env: Readonly<Record<string, string | undefined>>, work: () => Promise<A>): Promise<A> => {
  const before = Object.fromEntries(Object.keys(env).map((name) => [name, process.env[name]]))
  const set = (all: Readonly<Record<string, string | undefined>>): void => {
    for (const [name, value] of Object.entries(all)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  set(env)
  try {
    return await work()
  } finally {
    set(before)
  }
}

/** Run `args` as `convert_megatron_mimo` would. One at a time. */
export const runCli = async (args: ReadonlyArray<string>, { cwd, disk = quickDisk, env = {} }: Circumstances = {}): Promise<Finished> => {
  const home = process.cwd()
  if (cwd !== undefined) process.chdir(cwd)
  try {
    const [out, err] = await withEnvironment({ NO_COLOR: "1", COLUMNS: "80", ...env }, () => streamsOf(() => Effect.runPromise(program(args, disk))))
    return { code: Number(process.exitCode ?? 0), out, err }
  } finally {
    process.exitCode = undefined
    process.chdir(home)
  }
}

/** {@link runCli} in one directory. */
export const cliIn = (cwd: string) => (...args: ReadonlyArray<string>): Promise<Finished> => runCli(args, { cwd })
