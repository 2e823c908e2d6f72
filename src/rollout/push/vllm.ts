/**
 * vLLM: a reload from a path, or the four phases of its weight transfer with the `disk` backend. Its prefix cache is emptied before and
 * after: what was computed with old weights must not be found again.
 */
import { accepted, type Driver, type DriverOptions, fieldOf, textField } from "./Driver.ts"
import type { EngineClient } from "./EngineClient.ts"

export const vllmDriver = (client: EngineClient, { pause = "wait", phases, quick, signal, slow }: DriverOptions): Driver => {
  const post = async (path: string, timeout: number, body?: object) =>
    accepted(client, path, await client.call("POST", path, { ...(body ? { body } : {}), timeout, signal }))
  const reset = async () => { await post("/reset_prefix_cache", quick) }
  const reload = async (path: string, label: string) => {
    await post("/collective_rpc", slow, { method: "reload_weights", kwargs: { weights_path: path }, timeout: slow / 1000 })
    await post("/update_weight_version", quick, { new_version: label })
  }
  const inPhases = async (path: string, label: string) => {
    await post("/init_weight_transfer_engine", slow, { init_info: {} })
    await post("/start_weight_update", slow)
    await post("/update_weights", slow, { update_info: { path } })
    await post("/finish_weight_update", slow, { weight_version: label })
  }
  return {
    kind: "vllm",
    needs: ["/pause", "/resume", "/reset_prefix_cache", "/weight_info", ...(phases ? ["/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update"] : ["/collective_rpc", "/update_weight_version"])],
    prepare: async () => {},
    pause: async () => { await post(`/pause?mode=${pause}`, slow) },
    flush: reset,
    update: async ({ label, path }) => {
      await (phases ? inPhases(path, label) : reload(path, label))
      await reset()
    },
    version: async () => {
      const { json, status } = await client.call("GET", "/weight_info", { timeout: quick, signal })
      return status === 200 ? textField(json, "weight_version") : undefined
    },
    isPaused: async () => {
      const { json, status } = await client.call("GET", "/is_paused", { timeout: quick, signal })
      const paused = status === 200 ? fieldOf(json, "is_paused") : undefined
      return typeof paused === "boolean" ? paused : undefined
    },
    resume: async () => { await post("/resume", quick) }
  }
}
