/** What a launcher is told of how a process ended. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { workDirectory } from "../relabel/checkpoints.ts"
import { runCli } from "./run.ts"

const work = workDirectory("launcher")
let number = 0
const place = (): string => join(work, `error-${number++}.json`)

/** The only process of a job of torchrun's. */
const alone = async (file: string, ...args: ReadonlyArray<string>) => {
  const env = { RANK: "0", WORLD_SIZE: "1", LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "1", TORCHELASTIC_RUN_ID: "run", TORCHELASTIC_ERROR_FILE: file }
  return runCli(args, { cwd: work, env })
}

it.each([
  ["a failure", ["import", "--hf-model", "nothing", "--megatron-path", "out"], 3, /nothing/],
  ["flags that are none", ["import", "--hf-modle", "nothing"], 2, /hf-modle/]
] as const)("%s of the only process is in the file that torchrun named", async (_, args, code, text) => {
  const file = place()
  expect((await alone(file, ...args)).code).toBe(code)
  const { message } = JSON.parse(readFileSync(file, "utf8")) as { message: { message: string; extraInfo: { timestamp: string } } }
  expect(message).toMatchObject({ message: expect.stringMatching(text), extraInfo: { timestamp: expect.stringMatching(/^\d+$/) } })
})

it("what is in that file already was the cause, and stays", async () => {
  const file = place()
  writeFileSync(file, "the cause")
  expect((await alone(file, "import", "--hf-model", "nothing", "--megatron-path", "out")).code).not.toBe(0)
  expect(readFileSync(file, "utf8")).toBe("the cause")
})
