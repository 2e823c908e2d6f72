/**
 * A model of three components from four checkpoints, under three layouts: put together, verified, taken apart again.
 *
 *   node examples/assemble.ts LANGUAGE IMAGES AUDIOS IMAGE_PROJECTOR WORK
 *
 * The audio projector is new: its first values follow from a seed.
 */
import { join } from "node:path"
import { assembleHfModel, exportCheckpoint, importCheckpoint, modelLayout, verifyCheckpoint } from "megatron-mimo-bridge"

/** Encoders beside the language model: on ranks of their own, cut otherwise. */
const LAYOUTS = [
  ["language=tp=1", "images=tp=1", "audios=tp=1"],
  ["language=tp=4", "images=tp=2", "audios=tp=1"],
  ["language=tp=2,pp=2", "images=tp=1,dp=2", "audios=tp=2"]
]

/** `work`: an existing folder for what is written. */
export const assemble = async (parts: { readonly language: string; readonly images: string; readonly audios: string; readonly projector: string }, work: string): Promise<void> => {
  const hfModel = await assembleHfModel({
    recipe: "llava-audio",
    parts: { language: parts.language, images: parts.images, audios: parts.audios, "images.projector": parts.projector, "audios.projector": "init:1234" }
  })
  for (const [i, components] of LAYOUTS.entries()) {
    const model = { hfModel, components }
    const megatron = join(work, `megatron-${i}`)
    const { worldSize } = await modelLayout(model)
    await importCheckpoint(model, megatron)
    const { equal, total } = await verifyCheckpoint(model, megatron)
    const { files } = await exportCheckpoint(model, megatron, join(work, `parts-${i}`))
    console.log(`${components.join(" ")}: ${worldSize} ranks, ${equal}/${total} equal, ${files.map(({ name }) => name).join(" ")}`)
  }
}

const [language, images, audios, projector, work] = process.argv.slice(2)
if (import.meta.main && work !== undefined) await assemble({ language: language!, images: images!, audios: audios!, projector: projector! }, work)
