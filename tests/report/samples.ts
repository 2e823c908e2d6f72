/** Inspections made of nothing but numbers, as large and as hostile as a test wants. */
import { type Inspection, inspection } from "../../src/inspect/Inspection.ts"
import { withComponents } from "../../src/space/components.ts"
import type { UnroutedSpace } from "../../src/space/OpenedSpace.ts"
import { itemsTensor, type SpaceTensor } from "../../src/space/TensorSpace.ts"
import type { Page as PageData } from "../../src/report/PageData.ts"

export interface SampleOptions {
  readonly layers: number
  readonly perLayer: number
  readonly ranks: number
  readonly names?: ReadonlyArray<string>
}

/** A checkpoint of two-way split weights: the halves of a layer lie on neighbouring ranks. */
export const sampleSpace = ({ layers, names = [], perLayer, ranks }: SampleOptions): UnroutedSpace => {
  const tensors = new Map<string, SpaceTensor>()
  const ends = new Map<string, number>()
  const add = (name: string, rank: number) => {
    const chunks = [0, 1].map((half) => {
      const file = `__${(rank + half) % ranks}_0.distcp`
      const offset = ends.get(file) ?? 0
      ends.set(file, offset + 64)
      return { offsets: [half * 4, 0], sizes: [4, 8], file, offset, length: 64 }
    })
    tensors.set(name, itemsTensor("sample/iter_0000000", name, { dtype: "BF16", shape: [8, 8], chunks }))
  }
  for (let layer = 0; layer < layers; layer++) {
    for (let k = 0; k < perLayer; k++) add(`language_model.decoder.layers.${layer}.mlp.experts.linear_fc1.weight${k}`, layer % ranks)
  }
  for (const name of names) add(name, 0)
  return { kind: "megatron", path: "sample", directory: "sample/iter_0000000", tensors, objects: [], files: [...ends].map(([name, bytes]) => ({ name, bytes })), notes: [], form: "mimo" }
}

/** As `inspect` sees it, with the boxes of every chunk. */
export const inspectedSpace = (space: UnroutedSpace): Inspection => inspection(withComponents(space), { boxes: true })

export const samplePage = (options: SampleOptions, more: Partial<PageData> = {}): PageData => ({
  version: "0.0.0",
  command: "report",
  subjects: [inspectedSpace(sampleSpace(options))],
  ...more
})
