/** Megatron checkpoints from strangers: every broken one is refused in words, every unusual one gives the model to the bit. */
import { describe, expect, it } from "vitest"
import { isGoodCheckpoint, isRefused, namesPlaces, type World } from "./check.ts"
import { checkpointOf } from "./corpus/Megatron.ts"
import { megatronBadFolders } from "./corpus/megatronBadFolders.ts"
import { megatronBadItems } from "./corpus/megatronBadItems.ts"
import { megatronBadPickles } from "./corpus/megatronBadPickles.ts"
import { megatronBadTables } from "./corpus/megatronBadTables.ts"
import { megatronBadRanks } from "./corpus/megatronBadRanks.ts"
import { megatronGood } from "./corpus/megatronGood.ts"
import { soundOf, workFolder } from "./run.ts"

const work = workFolder("hostile-megatron")
/** Codes of these cases, among others. */
const CODES = [
  "file/too-large", "file/link-loop", "plan/dtypes", "checkpoint/backend", "checkpoint/duplicate-key",
  "checkpoint/link-escapes", "checkpoint/missing-file", "checkpoint/no-backend", "checkpoint/no-common-state",
  "checkpoint/no-metadata", "checkpoint/no-tracker", "checkpoint/not-a-checkpoint", "checkpoint/not-a-directory",
  "checkpoint/not-a-file", "checkpoint/rank-disagrees", "checkpoint/rank-experts", "checkpoint/rank-file", "checkpoint/rank-iteration", "checkpoint/rank-layers",
  "checkpoint/rank-missing", "checkpoint/rank-shapes", "checkpoint/rank-tensor", "checkpoint/tracker", "checkpoint/trackers-disagree"
]

const world: World = { work, sound: await soundOf(work), places: { byte: 0, named: 0, without: [] }, codes: new Set() }
const bases = { llama: await checkpointOf("llama"), qwen2: await checkpointOf("qwen2"), qwen3: await checkpointOf("qwen3") }

const bad = [megatronBadFolders, megatronBadPickles, megatronBadTables, megatronBadItems].flatMap((cases) => cases(bases)).concat(megatronBadRanks)

describe("a Megatron checkpoint is refused", () => {
  it.each(bad.flatMap((c) => c.commands.map((command) => [c.id, command, c] as const)))("%s, by %s", { timeout: 60_000 }, (_, command, c) =>
    isRefused(world, "megatron", command, c))

  it("with the byte at which it is wrong", () => namesPlaces(world))

  it("for every reason that has a code of its own", () => expect(CODES.filter((code) => !world.codes.has(code))).toEqual([]))
})

describe("a Megatron checkpoint is accepted", () => {
  it.each(megatronGood(bases).map((c) => [c.id, c] as const))("%s", { timeout: 60_000 }, (_, c) => isGoodCheckpoint(world, c))
})
