/** Whether what a run finds out about file systems is kept for later runs, in the user's cache directory. */
import { Context } from "effect"

/** The command line does; a library writes no files that nobody asked for. */
export const RemembersIo = Context.Reference<boolean>("megatron-mimo/RemembersIo", { defaultValue: () => false })
