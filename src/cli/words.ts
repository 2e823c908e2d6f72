import { Context } from "effect"

/** The words of the command line, without the program. */
export const Words = Context.Reference<ReadonlyArray<string>>("megatron-mimo/Words", { defaultValue: () => [] })
