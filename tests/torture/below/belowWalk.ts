/**
 * The fault walk below the runtime: a library between Node and the C library (faults.c) makes every call of the real process on the
 * real disk fail in turn. What the runtime makes of an errno is so part of what is tested.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtemp, realpath, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { WalkResult } from "../faultWalk.ts"

const here = (name: string): string => new URL(name, import.meta.url).pathname

const compilers = process.platform === "linux" ? ["cc", "gcc", "clang"] : []

/** Build the library; undefined where there is no compiler for it. */
export const buildFaults = (to: string): string | undefined => {
  const library = join(to, "faults.so")
  const built = compilers.some((cc) => spawnSync(cc, ["-shared", "-fPIC", "-O2", "-o", library, here("faults.c"), "-ldl"]).status === 0)
  return built ? library : undefined
}

/** The environment of a process in which calls below `root` can fail. */
export const faultsIn = (library: string, root: string, report: string): NodeJS.ProcessEnv =>
  ({ ...process.env, LD_PRELOAD: library, FAULT_ROOT: root, FAULT_REPORT: report, UV_USE_IO_URING: "0", UV_THREADPOOL_SIZE: "1" })

const outputOf = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] })
    const output = { out: "", err: "" }
    child.stdout.on("data", (part: Buffer) => { output.out += part.toString() })
    child.stderr.on("data", (part: Buffer) => { output.err += part.toString() })
    child.on("error", reject)
    child.on("close", (code) => (code === 0 ? resolve(output.out) : reject(new Error(`the walk ended with ${code}: ${output.err}`))))
  })

/** Every `every`-th point; no results where no compiler is. */
export const belowWalk = async ({ every }: { readonly every: number }): Promise<ReadonlyMap<string, WalkResult>> => {
  const work = await realpath(await mkdtemp(join(tmpdir(), "below-")))
  try {
    const library = buildFaults(work)
    if (library === undefined) return new Map()
    const root = join(work, "root")
    const text = await outputOf([here("child.ts"), root, String(every)], faultsIn(library, root, join(work, "report")))
    return new Map(Object.entries(JSON.parse(text) as Record<string, WalkResult>))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
