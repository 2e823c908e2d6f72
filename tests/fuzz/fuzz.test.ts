/** What once crashed does not any more; a few inputs for every target, always the same ones; and the fuzzer can find a crash. */
import { describe, expect, it } from "vitest"
import { FormatError, InvalidFile } from "../../src/errors.ts"
import { Random } from "./Random.ts"
import { regressions } from "./Regressions.ts"
import { MOST_MEMORY, type Target, tryOne, Wrong } from "./Target.ts"
import { targets } from "./targets.ts"

const FEW = 200

const named = (name: string): Target => {
  const found = targets.find((t) => t.name === name)
  if (!found) throw new Error(`a regression of ${name}, which is no target`)
  return found
}

it.each(regressions().map((r) => [r.file, r] as const))("%s crashes no longer", async (_, { input, target }) => {
  const { crash } = await tryOne(named(target), input)
  expect(crash?.reason).toBe(undefined)
})

it.each(targets.map((t) => [t.name, t] as const))("%s: nearly right inputs are answered", async (_, target) => {
  const random = new Random(20)
  for (let i = 0; i < (target.few ?? FEW); i++) {
    const input = target.make(random)
    const { crash } = await tryOne(target, input)
    expect(crash && `${crash.reason}\n  input: ${Buffer.from(input).toString("base64").slice(0, 4000)}`).toBe(undefined)
  }
})

it("no two targets have one name", () => {
  expect(new Set(targets.map((t) => t.name)).size).toBe(targets.length)
})

describe("a crash is", () => {
  const outcome = (read: Target["read"], slowestMs?: number) => tryOne({ name: "made", make: () => new Uint8Array(), read }, Buffer.from("x"), slowestMs)
  const reason = async (read: Target["read"], slowestMs?: number) => (await outcome(read, slowestMs)).crash?.reason

  it("an error that nobody made", async () => {
    expect(await reason(() => void (undefined as unknown as string).length)).toContain("TypeError")
    expect(await reason(() => { throw new RangeError("Invalid array length") })).toContain("Invalid array length")
    expect(await reason(async () => { throw "text" })).toBe("text")
  })

  it("an answer that was no good", async () => {
    expect(await reason(() => { throw new Wrong("3 tensors came back of 4") })).toContain("3 tensors")
  })

  it("a message that says nothing", async () => {
    expect(await reason(() => { throw new FormatError("x/y", "expected undefined") })).toBe("the message makes no sense: expected undefined")
    expect(await reason(() => { throw new FormatError("x/y", "is [object Object]") })).toContain("makes no sense")
    expect(await reason(() => { throw new FormatError("x/y", "failed\n    at read (x.ts:1)") })).toContain("makes no sense")
  })

  it("an input that takes too long", async () => {
    expect(await reason(() => {
      const start = process.cpuUsage()
      const used = () => Object.values(process.cpuUsage(start)).reduce((a, b) => a + b)
      while (used() < 60_000);
    }, 50)).toMatch(/^took \d+ ms$/)
  })

  it("an input that takes too much memory, though it gives it back", async () => {
    // What the process has taken before it may take again.
    const before = process.resourceUsage().maxRSS * 1024 - process.memoryUsage.rss()
    expect(await reason(() => void Buffer.alloc(before + MOST_MEMORY + (64 << 20), 1))).toMatch(/^took \d+ MiB$/)
  })
})

describe("no crash is", () => {
  it("a typed error, or none", async () => {
    const read = (error?: Error): Target["read"] => () => { if (error) throw error }
    for (const error of [undefined, new FormatError("x/y", "is short"), new InvalidFile({ path: "x", code: "x/y", problem: "is short" })]) {
      expect((await tryOne({ name: "made", make: () => new Uint8Array(), read: read(error) }, Buffer.from("x"))).crash).toBe(undefined)
    }
  })
})
