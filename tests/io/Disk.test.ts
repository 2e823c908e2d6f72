/** What the operating system says, and what becomes of it. */
import { constants } from "node:os"
import { expect, it } from "vitest"
import { diskError } from "../../src/io/Disk.ts"
import { errnoOf } from "../../src/io/errno.ts"

/** As libuv gives an error that it does not know. */
const nameless = (number: number) => Object.assign(new Error(`Unknown system error -${number}`), { code: `Unknown system error -${number}`, errno: -number })

it("an error has its name, also where libuv knows only its number", () => {
  expect(errnoOf(Object.assign(new Error("EIO: i/o error"), { code: "EIO", errno: -5 }))).toBe("EIO")
  expect(errnoOf(nameless(constants.errno.EDQUOT))).toBe("EDQUOT")
  expect(errnoOf(nameless(constants.errno.ESTALE))).toBe("ESTALE")
  expect(errnoOf(nameless(99_999))).toBe("EUNKNOWN")
})

it("a full quota is a full disk", () => {
  const error = diskError("/out", "write", errnoOf(nameless(constants.errno.EDQUOT)))
  expect(error).toMatchObject({ _tag: "NoSpace", exitCode: 6 })
})
