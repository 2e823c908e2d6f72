/** What the reference made of a quantised source on the way back: plain tensors, and a config.json that says nothing of quantisation. */
import { Effect, Stream } from "effect"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import { storedArray } from "../space/StoredWeights.ts"
import { openHfConfig } from "../space/HfSource.ts"
import { digest } from "../engine/index.ts"
import { some } from "../errors.ts"
import { quantizationPaths } from "../quantized/QuantizationConfig.ts"
import { identity } from "../tensor/Copy.ts"
import { torchName } from "../tensor/DType.ts"
import type { ConformanceCase } from "./Case.ts"

/** Hold an export without restored codes against the reference's: the tensors `names`, which the source has quantised. */
export const comparePlainExport = Effect.fnUntraced(function*(c: ConformanceCase, directory: string, names: ReadonlyArray<string>) {
  const problems: Array<string> = []
  const exported = yield* openStoredWeights(directory)
  const config = yield* openHfConfig(directory)
  if (quantizationPaths(config.json).length > 0) problems.push("plain export: config.json still has a quantization_config")
  const different = c.export?.ok ? c.export.different : []
  const quantized = new Set(names)
  const expected = new Map(different.filter((d) => quantized.has(d.name)).map((d) => [d.name, d]))
  const arrays = [...expected.keys()].flatMap((name) => {
    const tensor = exported.tensors.get(name)
    return tensor ? [{ id: name, dtype: tensor.dtype, shape: tensor.shape, copies: () => [identity(storedArray(exported, name), name, tensor.shape)] }] : []
  })
  yield* digest(arrays).pipe(Stream.runForEach(({ id, sha256 }) => Effect.sync(() => {
    const reference = expected.get(id)!
    const { dtype } = exported.tensors.get(id)!
    if (dtype !== reference.dtype && torchName(dtype) !== reference.dtype) problems.push(`plain export: ${id} is ${dtype}, the reference has ${reference.dtype}`)
    else if (sha256 !== reference.sha256) problems.push(`plain export: ${id} has other content`)
  })))
  const missing = names.filter((name) => !exported.tensors.has(name))
  if (missing.length > 0) problems.push(`plain export: no ${some(missing)}`)
  return problems
})
