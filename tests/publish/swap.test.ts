/** Replacing a directory: at every moment its former or its next content is whole, and whoever comes next finds one of them. */
import { beforeEach, describe, expect, it } from "vitest"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import type { DiskCalls } from "../../src/io/Disk.ts"
import { discard } from "../../src/publish/staging/discard.ts"
import { createFolder } from "../../src/publish/staging/folder.ts"
import { StagedFiles } from "../../src/publish/staging/StagedFiles.ts"
import { publishData, recover, recoverToRead } from "../../src/publish/staging/swap.ts"
import { findTarget, observeTarget, type Target } from "../../src/publish/staging/target.ts"
import { writeSmall } from "../../src/io/small.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const STAGING = "/w/.out.partial"
let fs: MemoryFileSystem

const contentOf = (path: string): string | undefined => {
  const bytes = fs.files(path).get("content")
  return bytes && Buffer.from(bytes).toString()
}
const put = async (directory: string, content: string) => {
  await fs.calls.makeDirectory(directory)
  await writeSmall(fs.calls, `${directory}/content`, Buffer.from(content))
}

beforeEach(async () => {
  fs = new MemoryFileSystem()
  await fs.calls.makeDirectory("/w")
  await put("/w/out", "old")
  await createFolder(fs.calls, STAGING)
  await put(`${STAGING}/data`, "new")
})

/** Publish what is in the staging folder now. */
const publishTo = async (target: Target, disk: DiskCalls = fs.calls) => {
  const staged = new StagedFiles(fs.calls, `${STAGING}/data`, target.shown)
  await staged.recordAll()
  const permission = { overwrite: true, sources: [], notReplaceable: () => undefined }
  const observed = await observeTarget(fs.calls, target)
  return publishData(disk, { folder: STAGING, lock: { verify: async () => {} }, target: observed, permission, staged }, () => {})
}

/** The replacement, with the calls from the k-th rename of a directory on failing: as if the process died there. */
const replaceUntil = async (renames: number) => {
  let count = 0
  let dead = false
  const disk = faultyDisk(fs.calls, ({ operation, path }) => {
    if (operation === "rename" && !path.endsWith("/commit") && count++ === renames) dead = true
    return dead ? { errno: "EIO" } : undefined
  })
  await publishTo(await findTarget(fs.calls, "/w/out"), disk).catch(() => {})
}

describe("a replacement", () => {
  it("leaves the new content at the target and the old one aside", async () => {
    await replaceUntil(9)
    expect([contentOf("/w/out"), contentOf(`${STAGING}/replaced`)]).toEqual(["new", "old"])
  })

  it("that died before the first rename has changed nothing, and is not finished by others", async () => {
    await replaceUntil(0)
    expect(await recover(fs.calls, "/w/out")).toBe("none")
    expect(contentOf("/w/out")).toBe("old")
  })

  it("that died between the renames is finished by whoever opens the target, or something in it", async () => {
    await replaceUntil(1)
    expect(fs.has("/w/out")).toBe(false)
    await recoverToRead(fs.calls, "/w/out/iter_0000000")
    expect(contentOf("/w/out")).toBe("new")
    expect(fs.has(STAGING)).toBe(false)
  })

  it("that died after them needs no finishing", async () => {
    await replaceUntil(2)
    expect(await recover(fs.calls, "/w/out")).toBe("none")
    expect(contentOf("/w/out")).toBe("new")
  })

  it("whose second rename fails is taken back", async () => {
    const disk = faultyDisk(fs.calls, ({ operation, path }) => {
      const second = operation === "rename" && path === "/w/out" && !fs.has("/w/out") && fs.has(`${STAGING}/data`)
      return second && !taken ? (taken = true, { errno: "EIO" }) : undefined
    })
    let taken = false
    await expect(publishTo(await findTarget(fs.calls, "/w/out"), disk)).rejects.toMatchObject({ errno: "EIO" })
    expect(contentOf("/w/out")).toBe("old")
    expect(contentOf(`${STAGING}/data`)).toBe("new")
  })

  it("is not finished with something that is not its content", async () => {
    await replaceUntil(1)
    await fs.calls.removeTree(`${STAGING}/data`)
    await put(`${STAGING}/data`, "other")
    expect(await recover(fs.calls, "/w/out")).toBe("none")
    expect(contentOf(`${STAGING}/replaced`)).toBe("old")
  })

  it("keeps the only copy of the former content", async () => {
    await replaceUntil(1)
    expect(await discard(fs.calls, "/w/out", await fs.calls.lstat(STAGING))).toBe(false)
    expect(contentOf(`${STAGING}/replaced`)).toBe("old")
  })
})

describe("a new target", () => {
  it("comes to be by one rename, over an empty directory too", async () => {
    await fs.calls.makeDirectory("/w/empty")
    await publishTo(await findTarget(fs.calls, "/w/empty"))
    expect(contentOf("/w/empty")).toBe("new")
  })

  it("that somebody else made in the meantime stays as it is", async () => {
    const absent = { ...await findTarget(fs.calls, "/w/other") }
    await put("/w/other", "theirs")
    await expect(publishTo(absent)).rejects.toMatchObject({ code: "output/appeared" })
    expect(contentOf("/w/other")).toBe("theirs")
  })
})
