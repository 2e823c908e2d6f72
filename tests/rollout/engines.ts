/**
 * Engines as their tables describe them, without a GPU: they check what they are asked on their own, load safetensors with a reader of
 * their own, and can fail, hang, lie or start anew at any route.
 */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { isAbsolute, join } from "node:path"

export type Trouble = "error" | "refuses" | "hangs" | "cuts" | "lies" | "restarts"

/** SHA-256 of each tensor of a directory; throws for anything that is not complete. */
export const loaded = (directory: string): Map<string, string> => {
  const index = join(directory, "model.safetensors.index.json")
  const map = existsSync(index) ? (JSON.parse(readFileSync(index, "utf8")) as { weight_map: Record<string, string> }).weight_map : undefined
  const files = map ? [...new Set(Object.values(map))] : readdirSync(directory).filter((name) => name.endsWith(".safetensors"))
  if (files.length === 0) throw new Error(`${directory} holds no weights`)
  const tensors = new Map<string, string>()
  for (const file of files) {
    const bytes = readFileSync(join(directory, file))
    const start = 8 + Number(bytes.readBigUInt64LE(0))
    const table = JSON.parse(bytes.subarray(8, start).toString()) as Record<string, { data_offsets: [number, number] }>
    for (const [name, entry] of Object.entries(table)) {
      if (name === "__metadata__") continue
      const [begin, end] = entry.data_offsets
      if (start + end > bytes.length) throw new Error(`${file} is cut short`)
      tensors.set(name, createHash("sha256").update(bytes.subarray(start + begin, start + end)).digest("hex"))
    }
  }
  if (map && (tensors.size !== Object.keys(map).length || Object.keys(map).some((name) => !tensors.has(name)))) throw new Error("index and files differ")
  return tensors
}

export interface Engine {
  readonly url: string
  /** Routes that were asked for, in order. */
  readonly calls: ReadonlyArray<string>
  readonly headers: ReadonlyArray<IncomingMessage["headers"]>
  tensors: Map<string, string>
  version: string
  paused: boolean
  /** The next call of this route goes wrong. */
  trouble: { readonly route: string; readonly how: Trouble } | undefined
  readonly problems: ReadonlyArray<string>
  readonly close: () => Promise<void>
}

type Answer = readonly [status: number, body?: object]
type Body = Record<string, unknown>
type Route = (body: Body, query: URLSearchParams) => Answer

const keysOf = (body: Body, known: ReadonlyArray<string>): ReadonlyArray<string> => Object.keys(body).filter((key) => !known.includes(key))

/** A server with these routes, around an engine's state. */
const serving = async (initial: string, routesOf: (engine: Engine & { problem: (text: string) => void }) => Record<string, Route>, token: string | undefined): Promise<Engine> => {
  const [calls, problems, headers]: [Array<string>, Array<string>, Array<IncomingMessage["headers"]>] = [[], [], []]
  let server: Server
  const engine = {
    url: "", calls, headers, problems, tensors: loaded(initial), version: "default", paused: false, trouble: undefined as Engine["trouble"],
    problem: (text: string) => { problems.push(text) },
    close: () => new Promise<void>((resolve) => { server.closeAllConnections(); server.close(() => resolve()) })
  }
  const restart = (): void => { Object.assign(engine, { tensors: loaded(initial), version: "default", paused: false }) }
  const routes = routesOf(engine)
  const answer = (response: ServerResponse, [status, body]: Answer): void => {
    response.writeHead(status, { "content-type": "application/json" })
    response.end(body === undefined ? "" : JSON.stringify(body))
  }
  const handle = (request: IncomingMessage, response: ServerResponse, text: string): void => {
    const { pathname, searchParams } = new URL(request.url!, "http://engine")
    headers.push(request.headers)
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) return answer(response, [401, { error: "Unauthorized" }])
    if (pathname === "/openapi.json") return answer(response, [200, { paths: Object.fromEntries(Object.keys(routes).map((route) => [route.replace(/^\w+ /, ""), {}])) }])
    if (pathname === "/health") return answer(response, [200])
    const route = routes[`${request.method} ${pathname}`]
    if (!route) return answer(response, [404, { detail: "Not Found" }])
    calls.push(pathname)
    let body: Body = {}
    try {
      if (text !== "") body = JSON.parse(text) as Body
    } catch {
      return answer(response, [400, { error: "JSON" }])
    }
    const how = engine.trouble?.route === pathname ? engine.trouble.how : undefined
    if (how !== undefined) engine.trouble = undefined
    switch (how) {
      case "error": return answer(response, [500, { error: "out of memory" }])
      case "refuses": return answer(response, [400, { success: false, message: "no" }])
      case "hangs": return
      case "cuts": return void response.destroy()
      case "lies": return answer(response, [200, { success: true, message: "Succeeded" }])
      case "restarts":
        answer(response, route(body, searchParams))
        return restart()
      default: return answer(response, route(body, searchParams))
    }
  }
  server = createServer((request, response) => {
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => handle(request, response, Buffer.concat(parts).toString()))
  })
  await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", () => resolve()) })
  engine.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return engine
}

const tryLoad = (engine: Engine, path: unknown): string | undefined => {
  if (typeof path !== "string" || !isAbsolute(path) || !existsSync(path)) return `${String(path)} is no directory`
  try {
    const next = loaded(path)
    if (next.size !== engine.tensors.size || [...next.keys()].some((name) => !engine.tensors.has(name))) return "other tensors than the model has"
    engine.tensors = next
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

export interface EngineOptions {
  readonly token?: string
  /** Requests that are pending: so many flushes are refused. */
  readonly pending?: number
  /** Has /pull_weights, and a receiver behind it: what is wrong, or undefined. */
  readonly receive?: (local: string, source: string, version: number) => string | undefined
  /** vLLM: without the development routes. */
  readonly production?: boolean
}

export const fakeSglang = (initial: string, { pending = 0, receive, token }: EngineOptions = {}): Promise<Engine> => serving(initial, (engine) => {
  let [left, flushed] = [pending, false]
  const yes = (more: object = {}): Answer => [200, { success: true, message: "Succeeded", ...more }]
  const no = (message: string): Answer => [400, { success: false, message }]
  return {
    "POST /pause_generation": ({ mode = "abort", ...rest }) => {
      if (!["abort", "retract", "in_place"].includes(mode as string) || Object.keys(rest).length > 0) return [422, { detail: "mode" }]
      engine.paused = true
      flushed = false
      return yes()
    },
    "POST /continue_generation": (body) => {
      if (keysOf(body, ["torch_empty_cache"]).length > 0) return [422, { detail: "body" }]
      engine.paused = false
      return yes()
    },
    "POST /flush_cache": () => {
      if (left-- > 0) return [400]
      flushed = true
      return [200]
    },
    "POST /update_weights_from_disk": (body) => {
      const known = ["model_path", "load_format", "abort_all_requests", "weight_version", "is_async", "torch_empty_cache", "keep_pause", "recapture_cuda_graph", "token_step", "flush_cache", "manifest"]
      if (typeof body["model_path"] !== "string" || keysOf(body, known).length > 0) return [422, { detail: "body" }]
      if (!engine.paused) engine.problem("updated while it was not paused")
      if (!flushed) engine.problem("updated before the flush")
      const problem = tryLoad(engine, body["model_path"])
      if (problem !== undefined) return no(problem)
      if (typeof body["weight_version"] === "string") engine.version = body["weight_version"]
      return yes({ num_paused_requests: 0 })
    },
    "POST /weights_checker": ({ action, ...rest }) => (action !== "checksum" || keysOf(rest, ["allow_quant_error"]).length > 0 ? [422, { detail: "action" }] : yes({ checksums: Object.fromEntries(engine.tensors) })),
    "GET /get_weight_version": () => [200, { weight_version: engine.version }],
    ...(receive === undefined ? {} : {
      "POST /pull_weights": ({ local_checkpoint_dir: local, source_dir: source, target_version: version, ...rest }: Body) => {
        if (typeof local !== "string" || typeof source !== "string" || !isAbsolute(source) || !Number.isInteger(version) || Object.keys(rest).length > 0) return [422, { detail: "body" }]
        if (engine.paused) engine.problem("pulled while it was paused")
        const problem = receive(local, source, version as number)
        return problem === undefined ? yes() : no(problem)
      }
    })
  }
}, token)

export const fakeVllm = (initial: string, { production = false, token }: EngineOptions = {}): Promise<Engine> => serving(initial, (engine) => {
  if (production) return { "GET /v1/models": () => [200, {}] }
  let session: "none" | "ready" | "open" | "loaded" = "none"
  let reset = true
  const load = (path: unknown): Answer | undefined => {
    if (!engine.paused) engine.problem("updated while it was not paused")
    reset = false
    const problem = tryLoad(engine, path)
    return problem === undefined ? undefined : [500, { error: problem }]
  }
  return {
    "POST /pause": (_, query) => {
      if (!["abort", "wait", "keep"].includes(query.get("mode") ?? "abort")) return [400, { error: "mode" }]
      engine.paused = true
      return [200, { status: "paused" }]
    },
    "POST /weight_checker": ({ action }) => {
      if (action !== "checksum") return [400, { error: "action" }]
      return engine.paused ? [409, { error: "paused" }] : [200, { checksums: Object.fromEntries(engine.tensors) }]
    },
    "POST /resume": () => {
      if (!reset) engine.problem("resumed with an old prefix cache")
      engine.paused = false
      return [200, { status: "resumed" }]
    },
    "POST /reset_prefix_cache": () => {
      reset = true
      return [200]
    },
    "POST /collective_rpc": ({ args = [], kwargs = {}, method }) => {
      if (typeof method !== "string") return [400, { error: "method" }]
      if (method !== "reload_weights" || (args as Array<unknown>).length > 0) return [500, { error: `no ${method}` }]
      return load((kwargs as Body)["weights_path"]) ?? [200]
    },
    "POST /init_weight_transfer_engine": ({ init_info: info }) => {
      if (typeof info !== "object" || info === null) return [400, { error: "init_info" }]
      if (Object.keys(info).length > 0) return [400, { error: "disk: unknown key" }]
      session = "ready"
      return [200, { message: "Weight transfer initialized" }]
    },
    "POST /start_weight_update": () => {
      if (session !== "ready") return [500, { error: "RuntimeError: not configured, or active" }]
      session = "open"
      return [200, { message: "Weight update started" }]
    },
    "POST /update_weights": ({ update_info: info }) => {
      if (typeof info !== "object" || info === null) return [400, { error: "update_info" }]
      if (session !== "open") return [500, { error: "RuntimeError: not started" }]
      const bad = load((info as Body)["path"])
      session = bad ? "ready" : "loaded"
      return bad ?? [200, { message: "Weights updated" }]
    },
    "POST /finish_weight_update": ({ weight_version: version }) => {
      if (session !== "loaded") return [500, { error: "RuntimeError: nothing was updated" }]
      session = "ready"
      if (typeof version === "string") engine.version = version
      return [200, { message: "Weight update finished" }]
    },
    "POST /update_weight_version": ({ new_version: version }) => {
      if (typeof version !== "string") return [422, { detail: "new_version" }]
      engine.version = version
      return [200, { success: true, new_version: version }]
    },
    "GET /is_paused": () => [200, { is_paused: engine.paused }],
    "GET /weight_info": () => [200, { weight_version: engine.version }],
    "GET /get_world_size": () => [200, { world_size: 4 }]
  }
}, token)
