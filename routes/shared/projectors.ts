/** Projectors between a tower and the language model, as the trainer takes them over. */
import type { ModuleSource, ProjectorSizes } from "../../src/model/ModelModule.ts"
import { plainLayer } from "../../src/model/plain.ts"

/** `linear_1`, `linear_2`. */
export const plainProjector = (path: string, sizes: ProjectorSizes & { readonly hidden: number }, { bias }: { readonly bias: boolean }): ModuleSource => ({
  kind: "projector",
  path,
  sizes,
  build: (s) => {
    plainLayer(s, "linear_1", [sizes.hidden, sizes.input], bias)
    plainLayer(s, "linear_2", [sizes.output, sizes.hidden], bias)
  }
})

/** One linear map named `name`. */
export const linearProjector = (path: string, name: string, sizes: Omit<ProjectorSizes, "hidden">, { bias }: { readonly bias: boolean }): ModuleSource => ({
  kind: "projector",
  path,
  sizes,
  build: (s) => plainLayer(s, name, [sizes.output, sizes.input], bias)
})
