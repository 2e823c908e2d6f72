/** Pipes, sockets and directories among the files of a checkpoint: refused by name, and nothing waits for them. */
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { Disk } from "../../src/io/Disk.ts"
import { openSafetensors } from "../../src/safetensors/SafetensorsDirectory.ts"
import { loadCase } from "../conformance/cases.ts"

const work = mkdtempSync(join(tmpdir(), "specials-"))
afterAll(() => rmSync(work, { recursive: true }))

let hf: string
let number = 0
beforeEach(async () => {
  hf = join(work, String(number++))
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), hf).pipe(Effect.provide(Disk.layer)))
})

const open = () => Effect.runPromise(openSafetensors(hf).pipe(Effect.provide(Disk.layer)))
const pipe = (path: string) => expect(spawnSync("mkfifo", [path]).status).toBe(0)

describe("beside the weights", () => {
  it.each(["model-00004-of-00003.safetensors", "tokenizer.json", "notes"])("a pipe named %s is refused by name", async (name) => {
    rmSync(join(hf, name), { force: true })
    pipe(join(hf, name))
    await expect(open()).rejects.toMatchObject({ code: "file/not-regular", path: join(hf, name), exitCode: 3 })
  })

  it("so is a socket, and a link to a device", async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(hf, "s"), resolve))
    await expect(open()).rejects.toThrow("is a pipe, a socket or a device among the files of a checkpoint")
    await new Promise((resolve) => server.close(resolve))
    symlinkSync("/dev/zero", join(hf, "zero.bin"))
    await expect(open()).rejects.toMatchObject({ path: join(hf, "zero.bin") })
  })

  it("a directory is refused only if it bears the name of weights", async () => {
    mkdirSync(join(hf, "onnx"))
    expect((await open()).shards).toHaveLength(3)
    mkdirSync(join(hf, "extra.safetensors"))
    await expect(open()).rejects.toThrow("extra.safetensors: is a directory with the name of a weights file")
  })
})

it("a pipe that is named itself is refused, whatever its ending", async () => {
  for (const name of ["a.pt", "a.distcp", "a.safetensors"]) {
    pipe(join(work, name))
    await expect(Effect.runPromise(openSpace(join(work, name)).pipe(Effect.provide(Disk.layer)))).rejects.toMatchObject({ code: "file/not-regular" })
  }
})
