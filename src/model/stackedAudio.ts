/** An audio encoder that the trainer builds from its own layers: two convolutions over a spectrogram, stored positions, stacked layers, a norm. */
import { layerNorms, mlp, norm, selfAttention } from "./modules.ts"
import { type ModuleSource, stackSizes } from "./ModelModule.ts"
import type { DenseConfig } from "./TransformerConfig.ts"

/** Sizes of the encoder. */
export interface StackedAudio {
  readonly transformer: DenseConfig
  readonly melBins: number
  readonly positions: number
}

/** The encoder as a typed module at `path`. */
export const stackedAudio = (path: string, { melBins, positions, transformer: c }: StackedAudio): ModuleSource => ({
  kind: "audio",
  path,
  sizes: { ...stackSizes(c), form: "transformer", melBins, output: c.hidden_size },
  build: (s) => {
    for (const [name, input] of [["conv1", melBins], ["conv2", c.hidden_size]] as const) {
      s.parameter(`${name}.weight`, [c.hidden_size, input, 3])
      s.parameter(`${name}.bias`, [c.hidden_size])
    }
    s.parameter("position_embeddings.weight", [positions, c.hidden_size])
    norm(s.on("last"), "ln_post", c.hidden_size, c.normalization)
    s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
      selfAttention(layer.at("self_attention"), c)
      mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
    })
  }
})
