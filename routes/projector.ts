/** A projector alone: two linear layers between an encoder and a language model, under whatever names its checkpoint has. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { rows } from "../src/bridge/Registry.ts"
import { layeredProjector } from "../src/model/positionVision.ts"
import { dtypeField, size } from "./shared/config.ts"
import { encoderModel } from "./shared/encoderModel.ts"

const layer = z.string().min(1).max(256).regex(/^[\w.]+$/)

export const projector = family({
  name: "projector",
  architectures: ["MultimodalProjector"],
  config: () => z.looseObject({
    input_size: size,
    hidden_size: size,
    output_size: size,
    bias: z.boolean().default(true),
    /** Names of the two layers. */
    layers: z.tuple([layer, layer]).default(["linear_1", "linear_2"]),
    dtype: dtypeField,
    torch_dtype: dtypeField
  }),
  describe: (p) => encoderModel({
    encoder: "projector",
    tower: layeredProjector("", { input: p.input_size, hidden: p.hidden_size, output: p.output_size }, { bias: p.bias }),
    rows: rows("encoder.", "", {
      "linear_fc1.weight": `${p.layers[0]}.weight`,
      "linear_fc1.bias": `${p.layers[0]}.bias`,
      "linear_fc2.weight": `${p.layers[1]}.weight`,
      "linear_fc2.bias": `${p.layers[1]}.bias`
    }),
    fields: p
  })
})
