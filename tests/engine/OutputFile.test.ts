/** One file on a real disk, written past the page cache and through it by turns. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { Arena, PAGE } from "../../src/engine/internal/Arena.ts"
import { OutputFile } from "../../src/engine/internal/OutputFile.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import { random } from "../tensor/random.ts"

const work = mkdtempSync(join(tmpdir(), "output-"))
afterAll(() => rmSync(work, { recursive: true }))

it.each([1, 2, 3, 4, 5, 6])("holds every byte, whichever way and in whichever order its pages came (%i)", async (seed) => {
  const next = random(seed)
  const pages = 40
  const size = pages * PAGE - next(PAGE)
  const arena = new Arena(pages * PAGE)
  const content = Uint8Array.from({ length: size }, () => next(256))
  arena.memory.u8.set(content)
  const windows: Array<readonly [start: number, end: number]> = []
  for (let page = 0; page < pages;) {
    const end = Math.min(pages, page + 1 + next(6))
    windows.push([page * PAGE, Math.min(size, end * PAGE)])
    page = end
  }
  const path = join(work, `f${seed}`)
  const file = await OutputFile.create(nodeCalls, path, size)
  const shuffled = windows.map((window) => [next(1000), window] as const).sort((a, b) => a[0] - b[0]).map(([, window]) => window)
  await Promise.all(shuffled.map(async ([start, end], i) => {
    await file.write(arena.memory.u8.subarray(start), end - start, start, next(2) === 0)
    if (i % 5 === 4) await file.sync()
  }))
  const info = await file.finish()
  arena.close()
  expect(info?.size).toBe(size)
  expect(Buffer.compare(readFileSync(path), content)).toBe(0)
})
