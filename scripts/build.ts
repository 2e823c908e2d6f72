/** Bundle the library, the safetensors entry and the command line into dist/, with types. */
import { execFileSync } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { bundleBench, bundleCommand, bundleLibrary } from "./bundle.ts"
import { keepReachable } from "./reachableTypes.ts"

const root = new URL("..", import.meta.url).pathname
rmSync(`${root}dist`, { recursive: true, force: true })
await bundleLibrary(`${root}dist`)
await bundleCommand(`${root}dist`)
await bundleBench(`${root}dist`)
const tsc = createRequire(import.meta.url).resolve("typescript/package.json").replace("package.json", "bin/tsc")
execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--declaration", "--outDir", `${root}dist/types`, "--project", `${root}tsconfig.build.json`], { stdio: "inherit" })
const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { readonly exports: Readonly<Record<string, string | { readonly types: string }>> }
keepReachable(`${root}dist/types`, Object.values(exports).flatMap((entry) => (typeof entry === "string" ? [] : [entry.types.replace("./dist/types/", "")])))
