/** A described model as modules to convert, in either form. Pure. */
import type { ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { routeModules, standardModules } from "../mimo/routes.ts"
import type { Form } from "../mimo/routing.ts"
import type { Model } from "../model/Parameter.ts"

/** `auto`: what the model is. */
export const formOf = (wanted: Form | "auto", { components }: ModelDescription): Form =>
  wanted !== "auto" ? wanted : components.length > 0 ? "mimo" : "standard"

export const modulesOf = (form: Form, description: ModelDescription): ReadonlyArray<ConversionModule> =>
  form === "mimo" ? routeModules(description) : standardModules(description)

export const withoutMtp = (entries: Model): Model => entries.filter((e) => e.mtp !== true)
