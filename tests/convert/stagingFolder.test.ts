/** Does every process see the folder in which the files come to be? */
import { Effect } from "effect"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { markFolder, requireFolder } from "../../src/convert/stagingFolder.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import { awaitingNames } from "../../src/io/shared.ts"
import { folder } from "../cluster/harness/worlds.ts"

const RUN = "0123abcd"

it("a host that does not see what rank 0 has made is named as such, also where a folder of that name is left from another job", async () => {
  const [shared, own] = [folder(), folder()]
  for (const directory of [shared, own]) mkdirSync(join(directory, ".out.partial"))
  await markFolder(nodeCalls, join(shared, ".out.partial"), RUN)
  const seen = (directory: string, run = RUN) => {
    const staging = join(directory, ".out.partial")
    return Effect.runPromise(requireFolder(awaitingNames(nodeCalls, staging, () => false, 50), staging, run))
  }
  await seen(shared)
  for (const see of [() => seen(own), () => seen(shared, "ffffffff"), () => seen(join(own, "nowhere"))]) {
    await expect(see()).rejects.toMatchObject({ _tag: "LaunchError", code: "launch/not-shared", exitCode: 2, message: expect.stringContaining("is not to be seen on this host") })
  }
})
