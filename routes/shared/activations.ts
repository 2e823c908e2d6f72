/** Activation functions of HF configs by the dotted names that the trainer imports. */
import { FormatError } from "../../src/errors.ts"

const ACTIVATIONS: ReadonlyMap<string, string> = new Map([
  ["silu", "torch.nn.functional.silu"],
  ["swish", "torch.nn.functional.silu"],
  ["gelu", "torch.nn.functional.gelu"],
  ["relu", "torch.nn.functional.relu"],
  ["relu2", "megatron.core.activations.squared_relu"],
  ["gelu_pytorch_tanh", "megatron.core.activations.fast_gelu"],
  ["quick_gelu", "megatron.core.activations.quick_gelu"],
  ["sigmoid", "torch.sigmoid"]
])

/** Throws FormatError for a function that the trainer has no name for. */
export const activationOf = (name: string): string => {
  const found = ACTIVATIONS.get(name)
  if (!found) {
    throw new FormatError("config/activation", `unknown activation ${name}; known: ${[...ACTIVATIONS.keys()].join(", ")}`, { field: "hidden_act" })
  }
  return found
}

/** The name of HF configs for a function that the trainer imports; undefined if they have none. */
export const activationName = (target: string): string | undefined => [...ACTIVATIONS].find(([, dotted]) => dotted === target)?.[0]
