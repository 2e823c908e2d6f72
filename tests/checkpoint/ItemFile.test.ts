/** Data files built item by item, and the small files of a folder. */
import { describe, expect, it } from "vitest"
import { folderFiles, trackerFiles } from "../../src/checkpoint/folder.ts"
import { bytesSegment, ItemFiles } from "../../src/checkpoint/ItemFile.ts"
import { commonFile } from "../../src/torch/ObjectItem.ts"
import { readTrainState, trainStateFile, untrained } from "../../src/torch/TrainState.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"

describe("item files", () => {
  it("say where each item lies; equal frames are shared", () => {
    const files = new ItemFiles()
    const main = files.of(0, 0)
    const array = { id: "a", dtype: "BF16", shape: [4], copies: () => [] } as const
    const { length } = tensorItem("BF16", [1, 4])
    expect(main.object(bytesSegment(new Uint8Array(10)))).toEqual({ file: "__0_0.distcp", offset: 0, length: 10 })
    expect(main.tensor(array, [1, 4])).toEqual({ file: "__0_0.distcp", offset: 10, length })
    expect(main.tensor(array, [1, 4]).offset).toBe(10 + length)
    expect(files.named("__0_0.distcp")).toBe(main)
    expect(files.of(1, 0).verbatim({ path: "/c/d", offset: 3 }, "b", 7)).toEqual({ file: "__1_0.distcp", offset: 0, length: 7 })
    const [first, second] = files.files()
    expect([first!.size, second!.size]).toEqual([10 + 2 * length, 7])
    expect(first!.segments[1]).toBe(first!.segments[4])
    expect(files.names).toEqual(["__0_0.distcp", "__1_0.distcp"])
  })
})

describe("a folder", () => {
  const trainState = trainStateFile(untrained(7))

  it("has its small files in the order in which they are written", () => {
    const files = folderFiles({
      metadata: { className: "", tensors: new Map(), objects: new Map() },
      common: commonFile(new Map([["iteration", 7]])),
      runConfig: "model: null\n",
      trainState
    })
    expect(files.map(([name]) => name)).toEqual(["metadata.json", "common.pt", "run_config.yaml", "train_state.pt", ".metadata"])
  })

  it("is named by two trackers", () => {
    const [own, plain] = trackerFiles("iter_0000007", trainState)
    expect(readTrainState(own![1]).step).toBe(7)
    expect(Buffer.from(plain![1]).toString()).toBe("7")
    expect(Buffer.from(trackerFiles("release", trainState)[1]![1]).toString()).toBe("release")
  })
})
