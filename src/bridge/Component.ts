/** Where parameters below a prefix of the standard model live in the MIMO model. */
export interface Route {
  /** Prefix of the parameters in the standard model, ending in a dot. */
  readonly sourcePrefix: string
  /** Module path in the MIMO model, e.g. `modality_submodules.images.encoders.<name>`. */
  readonly targetModulePath: string
}

/** A MIMO component: the part of a standard model that trains under a parallel layout of its own. */
export interface Component extends Route {
  /** `language`, or the modality: `images`, `audio` … */
  readonly name: string
  /** Further prefixes that train under the same layout, e.g. a projector beside its tower. */
  readonly also?: ReadonlyArray<Route>
}
