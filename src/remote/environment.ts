/** What the environment says of the Hub, as the official Python client reads it. */
import { homedir } from "node:os"
import { join } from "node:path"

export type RemoteEnvironment = Readonly<Record<string, string | undefined>>

const isTrue = (value: string | undefined): boolean => value !== undefined && /^(1|on|yes|true)$/i.test(value)

const home = (env: RemoteEnvironment): string => env["HF_HOME"] || join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "huggingface")

/** Where the Hub's cache is: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
export const hubCacheDirectory = (env: RemoteEnvironment = process.env): string => env["HF_HUB_CACHE"] || join(home(env), "hub")

/** The file that `hf auth login` keeps the token in: `HF_TOKEN_PATH`, else `HF_HOME/token`. */
export const hubTokenFile = (env: RemoteEnvironment = process.env): string => env["HF_TOKEN_PATH"] || join(home(env), "token")

/** Nothing may be asked over the network. */
export const isOffline = (env: RemoteEnvironment = process.env): boolean => isTrue(env["HF_HUB_OFFLINE"]) || isTrue(env["TRANSFORMERS_OFFLINE"])

/** A token may be sent without being asked for by name. */
export const sendsToken = (env: RemoteEnvironment = process.env): boolean => !isTrue(env["HF_HUB_DISABLE_IMPLICIT_TOKEN"])

/** What is sent may be sent by Xet. */
export const usesXet = (env: RemoteEnvironment = process.env): boolean => !isTrue(env["HF_HUB_DISABLE_XET"])

/** Where large things wait for their upload to the Hub: beside its cache, which lies where there is room. */
export const hubStagingDirectory = (env: RemoteEnvironment = process.env): string => join(home(env), "megatron-mimo-bridge", "uploads")

/** The Hub's address, without a slash at its end: `HF_ENDPOINT`, else the public one. */
export const hubEndpoint = (env: RemoteEnvironment = process.env): string => (env["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, "")

const DEFAULT_TIMEOUT = 10

/** Milliseconds without a byte after which a request is given up: `HF_HUB_DOWNLOAD_TIMEOUT` (seconds), else ten seconds. */
export const downloadTimeout = (env: RemoteEnvironment = process.env): number => {
  const seconds = Number(env["HF_HUB_DOWNLOAD_TIMEOUT"])
  return (Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) : DEFAULT_TIMEOUT) * 1000
}
