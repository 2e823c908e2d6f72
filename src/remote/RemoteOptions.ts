/** How what lies elsewhere is read. */
import { Context } from "effect"

export interface RemoteOptions {
  /** Keep what is read of the Hub in its cache, in the Hub's own layout. Default false: it streams, and nothing is kept. */
  readonly cache?: boolean
  /** Milliseconds without a byte after which a request is given up. Default: `HF_HUB_DOWNLOAD_TIMEOUT`, else ten seconds. */
  readonly timeout?: number
  /** Milliseconds before a failed request is repeated for the first time; each further time waits twice as long. Default 250. */
  readonly patience?: number
}

export const Remote = Context.Reference<RemoteOptions>("megatron-mimo/Remote", { defaultValue: () => ({}) })
