/** The Megatron checkpoint that an import would write, as a space to look at. */
import { roleOf } from "../model/storedKey.ts"
import type { ImportPlan } from "../plan/ImportPlan.ts"
import { parseRunConfig } from "../runconfig/RunConfigFile.ts"
import type { UnroutedSpace } from "../space/OpenedSpace.ts"
import { bytesOfTensor, type SpaceTensor } from "../space/TensorSpace.ts"

/** What a page calls it. */
const PLANNED = "the planned checkpoint"

export const plannedSpace = ({ checkpoint: { files, metadata }, report: { form }, runConfig }: ImportPlan): UnroutedSpace => ({
  kind: "megatron",
  path: PLANNED,
  directory: PLANNED,
  tensors: new Map([...metadata.tensors].map(([name, { chunks, dtype, shape }]): [string, SpaceTensor] =>
    [name, { name, dtype, shape, bytes: bytesOfTensor(dtype, shape), role: roleOf(name), place: { kind: "items", directory: PLANNED, chunks } }])),
  objects: [...metadata.objects].map(([key, object]) => ({ key, ...object })),
  files: files.map(({ name, size }) => ({ name, bytes: size })),
  notes: [],
  form,
  runConfig: parseRunConfig(new TextEncoder().encode(runConfig))
})
