/** Bundle the library, the safetensors entry and the command line into dist/, with types. */
import { execFileSync } from "node:child_process"
import { rmSync } from "node:fs"
import { createRequire } from "node:module"
import { bundleBench, bundleCommand, bundleLibrary } from "./bundle.ts"

const root = new URL("..", import.meta.url).pathname
rmSync(`${root}dist`, { recursive: true, force: true })
await bundleLibrary(`${root}dist`)
await bundleCommand(`${root}dist`)
await bundleBench(`${root}dist`)
const tsc = createRequire(import.meta.url).resolve("typescript/package.json").replace("package.json", "bin/tsc")
execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--declaration", "--outDir", `${root}dist/types`, "--project", `${root}tsconfig.build.json`], { stdio: "inherit" })
