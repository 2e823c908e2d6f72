/** SGLang: its own pull, pause, flush, a load from disk that carries the label, continue. */
import { setTimeout as sleep } from "node:timers/promises"
import { accepted, type Driver, type DriverOptions, refusedBy, textField } from "./Driver.ts"
import type { EngineClient } from "./EngineClient.ts"

/** A flush is refused while requests are pending. */
const FLUSH_TRIES = 60
const FLUSH_PAUSE_MS = 1000

export const sglangDriver = (client: EngineClient, { pause = "retract", quick, signal, slow }: DriverOptions): Driver => {
  const post = async (path: string, body: object, timeout: number) => accepted(client, path, await client.call("POST", path, { body, timeout, signal }))
  return {
    kind: "sglang",
    needs: ["/pause_generation", "/flush_cache", "/update_weights_from_disk", "/continue_generation"],
    prepare: async ({ pull }) => {
      if (pull) await post("/pull_weights", { local_checkpoint_dir: pull.local, source_dir: pull.source, target_version: pull.version }, slow)
    },
    pause: async () => { await post("/pause_generation", { mode: pause }, slow) },
    flush: async () => {
      for (let tries = 1;; tries++) {
        const answer = await client.call("POST", "/flush_cache", { timeout: quick, signal })
        if (answer.status === 200) return
        if (tries === FLUSH_TRIES || answer.status === 404) throw refusedBy(client, "/flush_cache", answer)
        await sleep(FLUSH_PAUSE_MS, undefined, { signal })
      }
    },
    update: async ({ label, path }) => { await post("/update_weights_from_disk", { model_path: path, weight_version: label }, slow) },
    version: async () => {
      for (const path of ["/get_weight_version", "/model_info", "/get_model_info"]) {
        const { json, status } = await client.call("GET", path, { timeout: quick, signal })
        const version = status === 200 ? textField(json, "weight_version") : undefined
        if (version !== undefined) return version
      }
      return undefined
    },
    // The label comes with the load, so whatever was started anew says that it has another version.
    isPaused: async () => undefined,
    resume: async () => { await post("/continue_generation", {}, quick) }
  }
}
