/** Bundle the library, the safetensors entry and the command line into dist/, with types. */
import { execFileSync } from "node:child_process"
import { chmodSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { rolldown } from "rolldown"

const root = new URL("..", import.meta.url).pathname
rmSync(`${root}dist`, { recursive: true, force: true })
const external = ["effect", /^effect\//, "zod", "yaml", "ws", /^@effect\//, /^@tensorflow\//, /^node:/]

const write = async (input: Record<string, string>, dir: string, bundleAll: boolean) => {
  const build = await rolldown({ input, platform: "node", ...(bundleAll ? {} : { external }), logLevel: "warn" })
  await build.write({ dir, format: "esm", minify: bundleAll, sourcemap: false, chunkFileNames: "chunks/[name]-[hash].js" })
  await build.close()
}

// The library leaves its dependencies to the package manager; the command line carries everything for a fast start.
await write({ index: `${root}src/index.ts`, safetensors: `${root}src/safetensors/index.ts` }, `${root}dist`, false)
await write({ main: `${root}src/cli/main.ts` }, `${root}dist/cli`, true)
// The engine starts its threads from a file beside it.
for (const dir of ["dist", "dist/cli"]) await write({ thread: `${root}src/engine/thread.ts` }, `${root}${dir}`, true)
writeFileSync(`${root}dist/bin.js`, `#!/usr/bin/env node
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
chmodSync(`${root}dist/bin.js`, 0o755)
const tsc = createRequire(import.meta.url).resolve("typescript/package.json").replace("package.json", "bin/tsc")
execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--declaration", "--outDir", `${root}dist/types`, "--project", `${root}tsconfig.build.json`], { stdio: "inherit" })
