/** The shape of the code: dependencies point downwards, knowledge of models stays in routes/. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { describe, expect, it } from "vitest"

const root = new URL("..", import.meta.url).pathname

const filesBelow = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))

const importsOf = (file: string): ReadonlyArray<string> =>
  [...readFileSync(join(root, file), "utf8").matchAll(/^(?:import|export)[^"]*?from "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm)]
    .map(([, always, whenNeeded]) => relative(root, resolve(root, dirname(file), (always ?? whenNeeded)!)))
    // Templates of generated files hold imports of their own.
    .filter((other) => existsSync(join(root, other)))

/** Rooms from the ground up: a room may use those on lower floors, and its own. */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["quote.ts", "version.ts"],
  ["FormatError.ts"],
  ["errors.ts"],
  ["tensor", "store", "document"],
  ["io", "arithmetic"],
  ["websocket"],
  ["remote"],
  ["recognise"],
  ["safetensors", "torch", "model"],
  ["parallel"],
  ["runconfig", "cluster"],
  ["bridge", "engine", "arguments"],
  ["publish"],
  ["mimo", "checkpoint", "quantized"],
  ["space", "cost"],
  ["plan"],
  ["convert", "planner"],
  ["adapters"],
  ["verify", "inspect", "relabel", "reshard", "forward", "serve", "weights"],
  ["diff", "doctor", "setup", "prune"],
  ["rollout"],
  ["report", "conformance"],
  ["api"],
  ["cli", "index.ts"]
]

const roomOf = (path: string): string => path.split("/")[1]!

const floorOf = (path: string): number => {
  const room = roomOf(path)
  const floor = floors.findIndex((rooms) => rooms.includes(room))
  if (floor < 0) throw new Error(`${path}: the room ${room} stands on no floor; add it to tests/architecture.test.ts`)
  return floor
}

const KNOWS_ROUTES = ["src/api/", "src/index.ts", "src/conformance/main.ts"]
/** What the command line stands on besides the library's front door: errors, quoting for terminals, the version. */
const BELOW_CLI = ["src/cli/", "src/api/", "src/errors.ts", "src/quote.ts", "src/version.ts"]

describe("architecture", () => {
  it("rooms depend on lower floors only, and not on their neighbours", () => {
    const elsewhere = filesBelow("src").flatMap((file) =>
      importsOf(file)
        .filter((other) => other.startsWith("src/") && roomOf(other) !== roomOf(file) && floorOf(other) >= floorOf(file))
        .map((other) => `${file} → ${other}`))
    expect(elsewhere).toEqual([])
  })

  it("routes are known to the entry points only, through their one index and their data", () => {
    const users = filesBelow("src").flatMap((file) =>
      importsOf(file).filter((other) => other.startsWith("routes/")).map((other) => [file, other] as const))
    expect(users.filter(([file]) => !KNOWS_ROUTES.some((allowed) => file.startsWith(allowed)))).toEqual([])
    expect(users.filter(([, other]) => !["routes/index.ts", "routes/recipes/assembly.ts", "routes/recipes/index.ts", "routes/samples/index.ts", "routes/scaffold/index.ts", "routes/verified.ts"].includes(other))).toEqual([])
  })

  it("the command line calls the library's front door and nothing behind it", () => {
    const behind = filesBelow("src/cli").flatMap((file) =>
      importsOf(file).filter((other) => !BELOW_CLI.some((allowed) => other.startsWith(allowed))).map((other) => `${file} → ${other}`))
    expect(behind).toEqual([])
  })

  it("routes use the vocabulary of bridge, runconfig, model, tensor and errors", () => {
    const allowed = ["src/bridge/", "src/runconfig/Provider.ts", "src/model/", "src/tensor/", "src/errors.ts", "src/quote.ts", "src/recognise/patterns.ts", "routes/"]
    const others = filesBelow("routes").flatMap((file) =>
      importsOf(file).filter((other) => !allowed.some((a) => other.startsWith(a))).map((other) => `${file} → ${other}`))
    expect(others).toEqual([])
  })

  it("the engine is used through its front only", () => {
    const past = filesBelow("src").filter((file) => !file.startsWith("src/engine/")).flatMap((file) =>
      importsOf(file).filter((other) => other.startsWith("src/engine/internal/")).map((other) => `${file} → ${other}`))
    expect(past).toEqual([])
  })

  it("src names no model", () => {
    const names = /qwen(?!_visual)|llama|gemma|deepseek|mistral|nemotron|kimi|bailing|glm[-_ ]?4|ernie|exaone/i
    const found = filesBelow("src").filter((file) => names.test(readFileSync(join(root, file), "utf8")))
    expect(found).toEqual([])
  })

  it("promises and Effects meet in one file; programs run themselves", () => {
    const crossing = /\b(tryPromise|run(Promise|Sync|Fork|Callback)\w*|fromAsyncIterable|toAsyncIterable\w*|toReadableStream\w*)\(/
    const programs = ["src/cli/main.ts", "src/conformance/main.ts"]
    const found = filesBelow("src").filter((file) =>
      readFileSync(join(root, file), "utf8").split("\n").some((line) => !line.trimStart().startsWith("*") && /\b(Effect|Stream)\./.test(line) && crossing.test(line)))
    expect(found.filter((file) => !programs.includes(file))).toEqual(["src/io/attempt.ts"])
  })

  it("an exported type has a name of its own", () => {
    const places = new Map<string, Array<string>>()
    for (const file of [...filesBelow("src"), ...filesBelow("routes")]) {
      for (const [, name] of readFileSync(join(root, file), "utf8").matchAll(/^export (?:abstract )?(?:interface|type|class) (\w+)/gm)) {
        places.set(name!, [...(places.get(name!) ?? []), file])
      }
    }
    expect([...places].filter(([, files]) => files.length > 1).map(([name, files]) => `${name}: ${files.join(", ")}`)).toEqual([])
  })

  it("an exported value has a name of its own; a verb has its room's at the front doors, and flags are read as flags.NAME; fields of documents are called as what they hold", () => {
    const doors = /^src\/(api\/|safetensors\/node\.ts|cli\/flags\/|cli\/documents\/fields\.ts)/
    const places = new Map<string, Array<string>>()
    for (const file of [...filesBelow("src"), ...filesBelow("routes")]) {
      if (doors.test(file)) continue
      for (const [, name] of readFileSync(join(root, file), "utf8").matchAll(/^export (?:async )?(?:const|function\*?|let) (\w+)/gm)) {
        places.set(name!, [...(places.get(name!) ?? []), file])
      }
    }
    expect([...places].filter(([, files]) => new Set(files).size > 1).map(([name, files]) => `${name}: ${files.join(", ")}`)).toEqual([])
  })

  it("no file imports itself by way of others", () => {
    const graph = new Map([...filesBelow("src"), ...filesBelow("routes")].map((file) => [file, importsOf(file)]))
    const done = new Set<string>()
    const circles: Array<string> = []
    const walk = (file: string, path: ReadonlyArray<string>): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "))
      if (done.has(file) || path.includes(file)) return
      for (const other of graph.get(file) ?? []) walk(other, [...path, file])
      done.add(file)
    }
    for (const file of graph.keys()) walk(file, [])
    expect(circles).toEqual([])
  })
})
