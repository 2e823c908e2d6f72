/** Help can be read at 80 columns, for every command. */
import { Option } from "effect"
import type { HelpDoc } from "effect/cli"
import { describe, expect, it } from "vitest"
import { formatHelp, wrap } from "../../src/cli/help.ts"
import { wholeRoot } from "../../src/cli/root.ts"
import { runCli } from "./run.ts"

const help = async (...command: ReadonlyArray<string>): Promise<string> => {
  const { code, err, out } = await runCli([...command, "--help"])
  expect(code, err).toBe(0)
  return out
}

const commands = (await wholeRoot()).subcommands.flatMap((group) => group.commands.map((command) => command.name))

describe("the program", () => {
  it("lists its commands", async () => {
    const listed = [...(await help()).matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map((match) => match[1]!)
    expect(listed.filter((name) => !name.startsWith("-"))).toEqual(commands)
    expect(commands).toEqual(expect.arrayContaining(["import", "export", "verify", "plan", "inspect", "diff", "relabel", "doctor", "sample"]))
  })

  it.each(["", ...commands])("%s --help fits 80 columns and shows how to use it", async (command) => {
    const text = await help(...(command === "" ? [] : [command]))
    expect(text.split("\n").filter((line) => line.length > 80)).toEqual([])
    expect(text).toContain("USAGE\n  convert_megatron_mimo")
    expect(text).toContain("EVERY COMMAND\n  --help, --version, --wizard, --completions SHELL, --log-level LEVEL, --cache\n")
  })

  it.each([60, 40])("fits %i columns but for words that are longer, and for commands to be pasted", async (columns) => {
    for (const command of ["", ...commands]) {
      const { out } = await runCli([...(command === "" ? [] : [command]), "--help"], { env: { COLUMNS: String(columns) } })
      const tooLong = out.split("\n").filter((line) => line.length > columns && !/^ {2,6}(-\w, )?\S+( [A-Z=,[…\]]+| WORD| choice)?$|^ +(--?\S+ )?\S+( \\)?$|^ {2}convert_megatron_mimo /.test(line))
      expect(tooLong, command).toEqual([])
    }
  })

  it.each(["bash", "zsh", "fish"])("completes commands and flags in %s", async (shell) => {
    const { code, out } = await runCli(["--completions", shell])
    expect(code).toBe(0)
    for (const word of ["inspect", "relabel", "doctor", "megatron-path"]) expect(out).toContain(word)
  })
})

const flag = (name: string, type: string, description: string, required = false): HelpDoc.FlagDoc =>
  ({ name, aliases: [], type, description: Option.some(description), required })

describe("formatting", () => {
  const doc = {
    description: "Do something with a thing that has a description which does not fit one line of this width.",
    usage: "tool [flags]",
    annotations: undefined as never,
    flags: [
      flag("io", "choice", "How bytes move (choices: auto, direct)"),
      flag("size", "N", "A number", true),
      flag("component", "NAME=tp=N[,…],and more", "Repeatable"),
      { ...flag("quiet", "boolean", "Nothing"), aliases: ["-q"] }
    ],
    globalFlags: [flag("help", "boolean", "x"), flag("log-level", "choice", "x")],
    examples: [{ command: "tool --first one --second two --third three", description: "An example" }]
  } satisfies HelpDoc.HelpDoc

  it("choices stand where the value goes; long labels have a line of their own", () => {
    expect(formatHelp(doc, 60, false)).toMatchInlineSnapshot(`
      "Do something with a thing that has a description which does
      not fit one line of this width.

      USAGE
        tool [flags]

      FLAGS
        --io auto|direct  How bytes move
        --size N          A number (required)
        --component NAME=tp=N[,…],and more
                          Repeatable
        -q, --quiet       Nothing

      EVERY COMMAND
        --help, --log-level LEVEL

      EXAMPLES
        # An example
        tool --first one --second two --third three"
    `)
  })

  it("words are never broken", () => {
    expect(wrap("a verylongword b", 6)).toEqual(["a", "verylongword", "b"])
  })

  it("colours do not change the layout", () => {
    // eslint-disable-next-line no-control-regex
    expect(formatHelp(doc, 60, true).replace(/\u001b\[\d+m/g, "")).toBe(formatHelp(doc, 60, false))
  })
})
