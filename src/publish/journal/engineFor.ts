/** Engine settings under which interrupted work can be continued. */
import { type EngineOptions, settingsOf, slotBytes } from "../../engine/index.ts"
import { UsageError } from "../../errors.ts"

/**
 * The options with the block size spelled out. Recorded windows have the block size of the run that wrote them, so a resumed
 * run keeps it; what that costs in memory is taken from the concurrency.
 *
 * @throws UsageError if one block of that size is more than the memory allowed.
 */
export const engineFor = (options: EngineOptions, block?: number): EngineOptions & { readonly sizes: { readonly block: number } } => {
  const settings = settingsOf(options)
  if (block === undefined || block === settings.sizes.block) return { ...options, sizes: { ...options.sizes, block: settings.sizes.block } }
  const sizes = { ...options.sizes, block }
  if (options.maxMemory === undefined) return { ...options, sizes }
  const slot = slotBytes({ ...settings.sizes, block }, block)
  const concurrency = Math.min(settings.concurrency, Math.floor(options.maxMemory / slot))
  if (concurrency < 1) {
    throw new UsageError({
      problem: `--resume: the interrupted run used blocks of ${block} bytes, for which ${slot} bytes of memory are needed`,
      hint: "Give more --max-memory, or start over without --resume."
    })
  }
  return { ...options, concurrency, sizes }
}
