/** A MIMO component: the part of a standard model that trains under a parallel layout of its own. */
export interface Component {
  /** `language`, or the modality: `images`, `audio` … */
  readonly name: string
  /** Prefix of its parameters in the standard model, ending in a dot. */
  readonly sourcePrefix: string
  /** Module path in the MIMO model, e.g. `modality_submodules.images.encoders.<name>`. */
  readonly targetModulePath: string
}
