/** Completions as the shells run them. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { commandWords } from "../../src/cli/root.ts"
import { runCli } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "completions-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const has = (shell: string) => spawnSync(shell, ["-c", "true"]).status === 0

beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, out } = await runCli(["--completions", shell])
    expect(code).toBe(0)
    writeFileSync(join(work, `script.${shell}`), out)
  }
  mkdirSync(join(work, "models"))
  writeFileSync(join(work, "models.pt"), "")
})

const bash = (...words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { stdout } = spawnSync("bash", ["-c", `source script.bash
COMP_WORDS=("$@"); COMP_CWORD=$((${"$"}# - 1)); COMP_LINE="$*"; COMP_POINT=${"$"}{#COMP_LINE}
_convert_megatron_mimo convert_megatron_mimo "${"$"}{COMP_WORDS[COMP_CWORD]}" "${"$"}{COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
printf '%s\\n' "${"$"}{COMPREPLY[@]}"`, "bash", "convert_megatron_mimo", ...words], { encoding: "utf8", cwd: work })
  return stdout.split("\n").filter((line) => line !== "").sort()
}

const fish = (line: string): ReadonlyArray<string> => {
  const { stdout } = spawnSync("fish", ["-c", `source script.fish; complete -C ${JSON.stringify(line)}`], { encoding: "utf8", cwd: work })
  return stdout.split("\n").map((l) => l.split("\t")[0]!).filter((l) => l !== "").sort()
}

const flagsOf = (help: string): ReadonlyArray<string> => [...new Set([...help.matchAll(/(?<=^ {2}(?:-\w, )?)--([a-z][a-z-]+)/gm)].map((m) => m[1]!))]

describe.each(["bash", "zsh", "fish", "man"])("%s", (form) => {
  const text = () => readFileSync(form === "man" ? new URL("../../man/convert_megatron_mimo.1", import.meta.url) : join(work, `script.${form}`), "utf8").replaceAll("\\-", "-")

  it("knows every command and every flag of it", async () => {
    const all = text()
    for (const words of await commandWords()) {
      const name = words.at(-1)!
      const { out } = await runCli([...words, "--help"])
      const flags = flagsOf(out.split("EVERY COMMAND")[0]!.split("EXAMPLES")[0]!)
      expect(flags.length > 0 || ["help", "version"].includes(name), name).toBe(true)
      expect([name, ...flags].filter((word) => !all.includes(word)), `${form} ${name}`).toEqual([])
    }
  })
})

describe("bash", () => {
  it.each([
    [["in"], ["inspect"]],
    [["relabel", "--to", "m"], ["megatron-lm", "mimo", "mtp-model-layer", "mtp-transformer-layer"]],
    [["import", "--torch-dtype", "f"], ["float16", "float32"]],
    [["import", "--hf"], ["--hf-model", "--hf-revision"]],
    [["help", "rel"], ["relabel"]],
    [["rou"], ["roundtrip"]],
    [["sample", "--size", "s"], ["small"]],
    [["inspect", "mod"], ["models", "models.pt"]],
    [["import", "--hf-model", "mod"], ["models"]]
  ])("%s", (words, expected) => {
    expect(bash(...words)).toEqual(expected)
  })
})

describe.skipIf(!has("fish"))("fish", () => {
  it("commands, choices and paths", () => {
    expect(fish("convert_megatron_mimo insp")).toEqual(["inspect"])
    expect(fish("convert_megatron_mimo relabel --to mtp")).toEqual(["mtp-model-layer", "mtp-transformer-layer"])
    expect(fish("convert_megatron_mimo inspect mod")).toEqual(expect.arrayContaining(["models.pt", "models/"]))
  })
})

describe.skipIf(!has("zsh"))("zsh", () => {
  it("the script is loaded and takes over the command", () => {
    const { stdout } = spawnSync("zsh", ["-f", "-c", "autoload -U compinit; compinit -D -u; source script.zsh; print $_comps[convert_megatron_mimo]"], { encoding: "utf8", cwd: work })
    expect(stdout.trim()).toBe("_convert_megatron_mimo")
  })
})
