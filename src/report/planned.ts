/** The Megatron checkpoint that an import would write, as a space to look at. */
import type { ImportPlan } from "../plan/ImportPlan.ts"
import { parseRunConfig } from "../runconfig/RunConfigFile.ts"
import type { UnroutedSpace } from "../space/OpenedSpace.ts"
import { itemsTensor } from "../space/TensorSpace.ts"

/** What a page calls it. */
const PLANNED = "the planned checkpoint"

export const plannedSpace = ({ checkpoint: { files, metadata }, report: { form }, runConfig }: ImportPlan): UnroutedSpace => ({
  kind: "megatron",
  path: PLANNED,
  directory: PLANNED,
  tensors: new Map([...metadata.tensors].map(([name, stored]) => [name, itemsTensor(PLANNED, name, stored)])),
  objects: [...metadata.objects].map(([key, object]) => ({ key, ...object })),
  files: files.map(({ name, size }) => ({ name, bytes: size })),
  notes: [],
  form,
  runConfig: parseRunConfig(new TextEncoder().encode(runConfig))
})
