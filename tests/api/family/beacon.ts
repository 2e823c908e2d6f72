/** A family as somebody writes it who has the package only: a dense language model with experts of their own mapping kind, and images. */
import { z } from "zod"
import {
  commonOf, denseFields, family, frameRows, from, gatedMlpOf, gptProvider, languageAnd, linearProjector, type MappingKind, mirrored, model, plainBlocks,
  plainLayer, rows, size, stridesOf, tables, transformerOf, viewOf, vocabularyOf
} from "megatron-mimo-bridge/family"
import { FormatError } from "megatron-mimo-bridge"

/** `y` reversed row by row: nothing that the package has. */
const reversedRows: MappingKind = {
  name: "reversed-rows",
  arity: 1,
  relate: (p, [name]) => {
    const [out = 1, ...inner] = p.shape
    const strides = stridesOf(p.shape)
    return {
      tensors: [{ name: name!, shape: p.shape }],
      copies: Array.from({ length: out }, (_, row) => ({
        shape: [1, ...inner],
        source: { tensor: name!, offset: (out - 1 - row) * strides[0]!, strides },
        target: { ...viewOf(p.name, p.shape), offset: row * strides[0]! }
      }))
    }
  }
}

export const beacon = family({
  name: "beacon",
  architectures: ["BeaconForConditionalGeneration"],
  config: z.looseObject({
    text_config: z.looseObject(denseFields),
    vision_config: z.looseObject({ hidden_size: size, num_layers: size.max(1000), num_heads: size, patch_size: size })
  }),
  describe: ({ text_config: t, vision_config: v }) => {
    if (t.hidden_size === 13) throw new FormatError("config/sizes", "thirteen is no size", { field: "text_config.hidden_size" })
    const tc = transformerOf(t)
    return {
      modules: [
        {
          kind: "vision",
          path: "tower",
          sizes: {
            layers: v.num_layers,
            hidden: v.hidden_size,
            heads: v.num_heads,
            ffn: v.hidden_size,
            gated: false,
            patch: { height: v.patch_size, width: v.patch_size, channels: 3, frames: 1 },
            merge: 1,
            output: v.hidden_size
          },
          build: (s) => {
            plainLayer(s, "patches", [v.hidden_size, 3, v.patch_size, v.patch_size])
            plainBlocks(s, "layers", v.num_layers, (layer) => plainLayer(layer, "mix", [v.hidden_size, v.hidden_size], false))
          }
        },
        linearProjector("bridge", "linear", { input: v.hidden_size, output: t.hidden_size }, { bias: true }),
        { kind: "language", path: "language_model", config: tc, build: (s) => model.gpt(s, tc) }
      ],
      rows: [
        ...mirrored("tower.", "eye."),
        ...rows("bridge.", "bridge.", { "linear.weight": from(reversedRows)("linear.weight"), "linear.bias": "linear.bias" }),
        ...frameRows({ megatron: "language_model." }),
        ...rows("language_model.decoder.layers.*.", "model.layers.*.", { ...tables.attention, ...tables.denseMlp, "mlp.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight") })
      ],
      provider: gptProvider("beacon.provider.BeaconProvider", tc, commonOf(t)),
      components: languageAnd({ name: "images", sourcePrefix: "tower.", encoder: "beacon", projectors: ["bridge."] }),
      vocabulary: vocabularyOf(tc)
    }
  }
})
