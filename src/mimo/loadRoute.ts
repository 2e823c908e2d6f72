/**
 * How weights reach a trainer. That of a MegatronMIMO model looks for other names once its components are wrapped
 * (torch-dist-format.md F.1); that of a standard model saves and loads without its wrappers.
 */
import { UsageError } from "../errors.ts"
import { modalityOf, unwrapKey, wrapKey } from "../model/storedKey.ts"
import type { Form } from "./routing.ts"

/**
 * How a MegatronMIMO trainer takes an imported checkpoint: `hook` loads it before the components are wrapped, under the model's own names;
 * `ddp` loads it afterwards, under names with `.module.`, as the trainer's own `checkpoint.pretrained_checkpoint`.
 */
export type LoadRoute = "hook" | "ddp"

export const loadRoutes = ["hook", "ddp"] as const satisfies ReadonlyArray<LoadRoute>

/** A standard checkpoint has one set of names. */
export const NEVER_WRAPPED = "a standard checkpoint is saved without wrappers, whether it was trained or not"

/** @throws UsageError for names of wrapped components where there are no components. */
export const requireRoute = (form: Form, route: LoadRoute): void => {
  if (form === "mimo" || route === "hook") return
  throw new UsageError({ problem: `--load-route ${route} is for MegatronMIMO: ${NEVER_WRAPPED}`, hint: "checkpoint.pretrained_checkpoint takes the standard checkpoint as it is: leave the flag out." })
}

/** What the keys below `prefix` begin with for a load route. */
export const prefixFor = (route: LoadRoute, prefix: string): string => (route === "ddp" ? wrapKey(prefix) ?? prefix : prefix)

/** What each load route is, for a reader. */
export const ROUTE_MEANING = {
  hook: "a MegatronMIMO trainer's pre-wrap hook loads it (--load-route hook)",
  ddp: "a MegatronMIMO trainer loads it as checkpoint.pretrained_checkpoint (--load-route ddp)"
} as const satisfies Record<LoadRoute, string>

/** How to give keys the names of another load route. */
export const OTHER_ROUTE = {
  hook: "relabel --to ddp gives it the names for checkpoint.pretrained_checkpoint",
  ddp: "relabel --to plain gives it the names for the hook and for the reference's converter"
} as const satisfies Record<LoadRoute, string>

/** The load routes that stored keys of a model suit: of a standard model both are the same, of one that is wrapped in parts there is none. */
export const routesFor = (keys: ReadonlyArray<string>): ReadonlyArray<LoadRoute> => {
  const wrapped = keys.filter((key) => unwrapKey(key) !== key).length
  if (keys.every((key) => modalityOf(key) === undefined)) return wrapped === 0 ? loadRoutes : []
  const wrappable = keys.filter((key) => wrapKey(key) !== undefined).length
  return wrapped === 0 ? ["hook"] : wrapped === wrappable ? ["ddp"] : []
}
