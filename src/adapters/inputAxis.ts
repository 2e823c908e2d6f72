/** How `peft` takes the tensors of a model's parameters. Pure. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { InputAxis } from "./peftPair.ts"

/** The first axis behind the experts where the HF module says that it is transposed; `usual` elsewhere. */
export const inputAxisOf = (parameters: ReadonlyArray<BoundParameter>, usual: InputAxis): ((tensor: string) => InputAxis) => {
  const declared = new Set(parameters.filter(({ module, parameter }) => parameter.expert && module.registry.lookup(parameter.name)?.row.kind.inputFirst)
    .flatMap(({ tensors }) => tensors.map(({ name }) => name)))
  return (tensor) => (declared.has(tensor) ? "first" : usual)
}
