/** What an engine is and can do, by what it publishes of itself. */
import { IoError } from "../../errors.ts"
import { type EngineKind, textField } from "./Driver.ts"
import type { CallOptions, EngineClient } from "./EngineClient.ts"

export interface EngineFacts {
  readonly address: string
  /** Undefined: neither of those that are known here. */
  readonly kind: EngineKind | undefined
  readonly routes: ReadonlySet<string>
  readonly healthy: boolean
}

/** Routes that only one of the two has. */
const KINDS: ReadonlyArray<readonly [EngineKind, ReadonlyArray<string>]> = [
  ["sglang", ["/update_weights_from_disk", "/pause_generation", "/get_weight_version"]],
  ["vllm", ["/collective_rpc", "/pause", "/start_weight_update", "/reset_prefix_cache"]]
]

/** @throws IoError if it cannot be reached */
export const probe = async (client: EngineClient, options: CallOptions): Promise<EngineFacts> => {
  const described = await client.call("GET", "/openapi.json", options)
  if (described.status === 401 || described.status === 403) {
    throw new IoError({ path: `${client.address}/openapi.json`, operation: "read", errno: "EACCES", detail: `the engine answers ${described.status}`, hint: "--auth-file or --auth-env names the token." })
  }
  const { paths } = (typeof described.json === "object" && described.json !== null ? described.json : {}) as { readonly paths?: unknown }
  const routes = new Set(typeof paths === "object" && paths !== null ? Object.keys(paths) : [])
  const health = await client.call("GET", "/health", options)
  return { address: client.address, kind: KINDS.find(([, own]) => own.some((route) => routes.has(route)))?.[0], routes, healthy: health.status === 200 }
}

/** TP · PP · DP, of an engine that says it. */
export const worldSize = async (client: EngineClient, { routes }: EngineFacts, options: CallOptions): Promise<string | undefined> =>
  routes.has("/get_world_size") ? textField((await client.call("GET", "/get_world_size", options)).json, "world_size") : undefined
