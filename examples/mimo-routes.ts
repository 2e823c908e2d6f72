/**
 * Where the components of a model stand in your own MIMO model, for `--family examples/mimo-routes.ts`: what `registerMimoRoutes` says in
 * the trainer. Here the tower of LLaVA is called `vit`, and the projector is an encoder's second module.
 */
export const mimoRoutes = {
  LlavaForConditionalGeneration: [
    { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
    {
      name: "images",
      sourcePrefix: "vision_model.",
      targetModulePath: "modality_submodules.images.encoders.vit",
      also: [{ sourcePrefix: "vision_projection.", targetModulePath: "modality_submodules.images.encoders.glue" }]
    }
  ]
}
