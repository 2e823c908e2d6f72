/** What rolldown makes of the sources: the library with its dependencies left out, the command line with everything in it. */
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Plugin, rolldown } from "rolldown"

const root = new URL("..", import.meta.url).pathname
/** Packages that are used where they are installed, and never carried along. */
const optional = [/^@tensorflow\//, "@huggingface/tokenizers"]
const external = ["effect", /^effect\//, "zod", "yaml", "ws", "undici", /^@effect\//, /^node:/, ...optional]

/** A few files: what every command line needs, what most commands need. Each file that is opened costs as much as 20 KB of code. */
const groups = [
  { name: "start", tags: ["$initial" as const], priority: 2 },
  { name: "commands", minShareCount: 6, priority: 1 },
  { name: "flags", test: /[\\/]src[\\/]cli[\\/][^\\/]+\.ts$/, minShareCount: 2 }
]

/** A raw template with such a character: there an escape would be text. */
const RAW = /String\.raw`[^`]*[^\0-\x7f]/

/** A character beyond Latin-1 doubles what a whole file takes in memory, which slows the start. */
const ascii: Plugin = {
  name: "ascii",
  generateBundle(_, files) {
    for (const file of Object.values(files)) {
      if (file.type !== "chunk" || RAW.test(file.code)) continue
      file.code = file.code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    }
  }
}

const write = async (input: Record<string, string>, dir: string, bundleAll: boolean) => {
  const build = await rolldown({ input, platform: "node", external: bundleAll ? optional : external, ...(bundleAll ? { plugins: [ascii] } : {}), logLevel: "warn" })
  await build.write({ dir, format: "esm", minify: bundleAll, sourcemap: false, chunkFileNames: "chunks/[name]-[hash].js", ...(bundleAll ? { codeSplitting: { groups } } : {}) })
  await build.close()
}

/** The engine starts its threads from a file beside it. */
const thread = (dir: string) => write({ thread: `${root}src/engine/internal/worker.ts` }, dir, true)

/** The library leaves its dependencies to the package manager. */
export const bundleLibrary = async (dir: string): Promise<void> => {
  await write({
    index: `${root}src/index.ts`,
    family: `${root}routes/toolkit.ts`,
    safetensors: `${root}src/safetensors/index.ts`,
    "safetensors-node": `${root}src/safetensors/node.ts`,
    "safetensors-effect": `${root}src/safetensors/effect.ts`
  }, dir, false)
  await thread(dir)
}

/** `dir/NAME.js` of each program, and what they need. */
export const bundlePrograms = async (programs: Record<string, string>, dir: string): Promise<void> => {
  for (const [name, source] of Object.entries(programs)) await write({ [name]: source }, dir, true)
  await thread(dir)
}

/** `dir/bench/cores.js` and `dir/bench/merge.js`, which need nothing but Node and `dir/bin.js`. The package leaves them out. */
export const bundleBench = (dir: string): Promise<void> =>
  bundlePrograms(Object.fromEntries(["cores", "merge"].map((name) => [name, `${root}scripts/bench/${name}.ts`])), join(dir, "bench"))

/** `dir/bin.js` and what it needs: the command line carries everything, for a fast start. */
export const bundleCommand = async (dir: string): Promise<void> => {
  await write({ main: `${root}src/cli/main.ts` }, join(dir, "cli"), true)
  await thread(join(dir, "cli"))
  writeFileSync(join(dir, "bin.js"), `#!/usr/bin/env node
import module from "node:module"
import { homedir } from "node:os"
import { join } from "node:path"
const [major, minor] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error("error: Node 22.19 or later is needed; this is " + process.versions.node)
  process.exit(2)
}
module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "megatron-mimo-bridge"))
const { main } = await import("./cli/main.js")
main(process.argv.slice(2))
`)
  chmodSync(join(dir, "bin.js"), 0o755)
}
