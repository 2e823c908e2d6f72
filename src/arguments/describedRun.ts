/** What a run's arguments say of its model and its layout, or why they say nothing: for those who only look. */
import { FormatError, isBridgeError } from "../errors.ts"
import type { Provider } from "../runconfig/Provider.ts"
import { providerOfArguments } from "./providerFields.ts"
import { type RunLayout, runLayout } from "./runLayout.ts"
import type { TrainingArguments } from "./TrainingArguments.ts"

export interface DescribedRun {
  readonly provider?: Provider
  readonly layout?: RunLayout
  /** Why one of them is absent. */
  readonly problem?: string
}

const attempt = <A>(read: () => A): { readonly value: A } | { readonly problem: string } => {
  try {
    return { value: read() }
  } catch (error) {
    if (error instanceof FormatError) return { problem: error.place.field === undefined ? error.message : `${error.place.field}: ${error.message}` }
    if (isBridgeError(error)) return { problem: error.summary }
    throw error
  }
}

export const describedRun = (args: TrainingArguments): DescribedRun => {
  const [provider, layout] = [attempt(() => providerOfArguments(args)), attempt(() => runLayout(args))]
  return {
    ...("value" in provider ? { provider: provider.value } : { problem: provider.problem }),
    ...("value" in layout ? { layout: layout.value } : { problem: layout.problem })
  }
}
