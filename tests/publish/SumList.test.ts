import { crc32 } from "node:zlib"
import { expect, it } from "vitest"
import { SumList } from "../../src/publish/integrity/SumList.ts"
import { random } from "../tensor/random.ts"

it("joins sums that came in any order to those of the bytes", () => {
  const next = random(3)
  const bytes = Uint8Array.from({ length: 5000 }, () => next(256))
  const cuts = [0, ...Array.from({ length: 60 }, () => next(5000)), 5000].sort((a, b) => a - b)
  const sums = cuts.slice(1).flatMap((end, i) => {
    const position = cuts[i]!
    return end === position ? [] : [{ position, length: end - position, crc32: crc32(bytes.subarray(position, end)) }]
  })
  const list = new SumList()
  for (const sum of [...sums].sort(() => next(3) - 1)) list.add(sum)
  expect([...list]).toEqual(sums)
  expect(list.joined(0, list.size)).toBe(crc32(bytes))
  expect(list.joined(3, 7)).toBe(crc32(bytes.subarray(list.position(3), list.position(7))))
  expect(list.joined(5, 5)).toBe(0)
})
