/** Words instead of flags, and words that were meant. */
import { describe, expect, it } from "vitest"
import { wholeRoot } from "../../src/cli/root.ts"
import { VERSION } from "../../src/version.ts"
import { runCli } from "./run.ts"

const run = (...args: ReadonlyArray<string>) => runCli(args)
const commands = (await wholeRoot()).subcommands.flatMap((group) => group.commands.map((command) => command.name))

describe("words", () => {
  it("help is --help, version is --version", async () => {
    expect(await run("help")).toEqual(await run("--help"))
    expect((await run("version")).out).toContain(VERSION)
  })

  it.each(commands)("help %s", async (command) => {
    const shown = await run("help", command)
    expect(shown.code).toBe(0)
    expect(shown).toEqual(await run(command, "--help"))
  })
})

describe("a word that was meant is suggested", () => {
  it.each([
    ["relabl", "relabel"], ["improt", "import"], ["expotr", "export"], ["verfy", "verify"], ["roundtip", "roundtrip"], ["plann", "plan"], ["inspct", "inspect"],
    ["dif", "diff"], ["reprot", "report"], ["doctr", "doctor"], ["modles", "models"], ["smaple", "sample"], ["scafold", "scaffold"], ["hlep", "help"], ["verison", "version"]
  ])("%s: %s", async (typed, meant) => {
    for (const args of [[typed], [typed, "--to", "plain"]]) {
      const { code, err, out } = await run(...args)
      expect([code, out]).toEqual([2, ""])
      expect(err).toBe(`ERROR\n  Unknown subcommand "${typed}" for "convert_megatron_mimo"\n\n  Did you mean this?\n    ${meant}\n\nTry 'convert_megatron_mimo --help'\n`)
    }
  })

  it("and nothing where nothing is near", async () => {
    const { code, err } = await run("frobnicate")
    expect(code).toBe(2)
    expect(err).not.toContain("Did you mean")
  })

  it("of flags, too", async () => {
    expect((await run("import", "--hf-modl", "x")).err).toContain("Did you mean this?\n    --hf-model")
  })
})

describe("models", () => {
  it.each([140, 100, 80, 60, 40])("fits %i columns", async (columns) => {
    const { code, out } = await runCli(["models"], { env: { COLUMNS: String(columns) } })
    expect(code).toBe(0)
    expect(out.split("\n").filter((line) => line.length > columns)).toEqual([])
    expect(out).toContain("LlamaForCausalLM")
  })
})
