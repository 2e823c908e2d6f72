/** Every toy under the names of both layer specifications: there and back the same index, and the same export from either. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { Unsupported } from "../../src/errors.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { layerSpecNames, withoutLocalForm } from "../../src/model/layerSpec.ts"
import type { Form } from "../../src/mimo/routing.ts"
import { type Draft, draftOf, modelKeys } from "../../src/relabel/Draft.ts"
import { movedChunks, planRelabel } from "../../src/relabel/RelabelPlan.ts"
import { StoredArrays } from "../../src/checkpoint/StoredArrays.ts"
import { rules } from "../../src/relabel/rules/index.ts"
import type { DcpMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import type { ExportPlan } from "../../src/plan/ExportDraft.ts"
import { exportOf, importOf } from "./inMemory.ts"
import { toys } from "./toys.ts"

const context = { components: { problem: "not asked" }, runConfig: undefined } as never

/** The index of a relabelled checkpoint; nothing else of it may change. */
const indexOf = (draft: Draft, files: ReadonlyMap<string, number>): DcpMetadata => {
  const moved = movedChunks(draft, "/toy")
  const plan = planRelabel(draft, moved, new StoredArrays(moved.chunks), { files, pathOf: (file) => file }, new Map())
  expect(plan.written).toEqual([])
  return plan.metadata
}

const formsOf = (config: Record<string, unknown>): ReadonlyArray<Form> => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders).components.length > 0 ? ["standard", "mimo"] : ["standard"]
}

const described = ({ report, tensors }: ExportPlan) => ({
  leftBehind: report.leftBehind,
  carried: report.carried,
  tensors: [...tensors.values()].map(({ dtype, name, shape }) => [name, dtype, shape])
})

const all = toys.flatMap((toy) => formsOf(toy.config).map((form) => [`${toy.name} (${form})`, toy, form] as const))

let renamed = 0

describe("the norms of every toy", () => {
  it.each(all)("%s", (_, toy, form) => {
    const imported = importOf(toy, form)
    const { metadata } = imported.checkpoint
    const files = new Map(imported.checkpoint.files.map(({ name, size }) => [name, size]))
    const draft = draftOf(metadata)
    const nameOf = layerSpecNames(modelKeys(draft))
    expect(modelKeys(draft).filter((key) => nameOf(key, "te") !== key), "an import has Transformer Engine's names").toEqual([])
    const differs = modelKeys(draft).some((key) => nameOf(key, "local") !== key)
    if (!differs || withoutLocalForm(modelKeys(draft)) !== undefined) {
      expect(() => rules["local-spec"](draft, context)).toThrow(Unsupported)
      return
    }
    renamed++
    const local = rules["local-spec"](draft, context)
    const localIndex = indexOf(local, files)
    expect(Buffer.compare(encodeMetadata(localIndex), encodeMetadata(metadata))).not.toBe(0)
    expect(Buffer.compare(encodeMetadata(indexOf(rules["te-spec"](draftOf(localIndex), context), files)), encodeMetadata(metadata))).toBe(0)
    expect(described(exportOf(toy, imported, localIndex))).toEqual(described(exportOf(toy, imported)))
  })

  it("are renamed in a quarter of the toys at least", () => expect(renamed).toBeGreaterThan(toys.length / 4))
})
