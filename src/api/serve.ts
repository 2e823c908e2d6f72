/** A checkpoint's weights as a stream over a WebSocket: the server, and the client. */
import { Effect, Stream } from "effect"
import { tokenFrom, usableToken } from "../websocket/token.ts"
import { givenCertificate } from "../websocket/certificate.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { type EngineLimits, stream, type TargetArray } from "../engine/index.ts"
import { type JobError, LaunchError, quote, StreamBroken, type StreamError, StreamRefused, UsageError } from "../errors.ts"
import { attempt, checking, streaming, toAsyncIterable, values } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { exportArray } from "../plan/ExportDraft.ts"
import type { SourceState } from "../publish/sources.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { type OfferedTensor, type OfferedWeights } from "../serve/Catalogue.ts"
import { type ConnectOptions, connectTo, type ReceivedWeight } from "../serve/connect.ts"
import { weightsChanged, SERVE_BOUNDS, type Served, serveWeights as startServing } from "../serve/serveWeights.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { kindOfPath, openSpace } from "../space/openSpace.ts"
import { openTensors } from "../space/openTensors.ts"
import { bytesOfTensor } from "../space/TensorSpace.ts"
import { storedState } from "../store/Store.ts"
import { prepareExport } from "./conversions.ts"
import { meter, type Watched } from "./progress.ts"
import { familiesOf, tensorChoices, type TensorChoices, type WithFamilies } from "./requests.ts"

export { SERVE_BOUNDS, type Served }
export type { ConnectOptions, ReceivedWeight } from "../serve/connect.ts"
export type { Selection } from "../serve/protocol.ts"

/** Milliseconds that a reading waits for more consumers to share it. */
export const SERVE_DEFAULTS = { listen: "127.0.0.1:0", gather: 250, maxMemory: 24 << 20 } as const

/** What is served, to whom, and where. */
export interface ServeRequest extends WithFamilies, Watched, EngineLimits, TensorChoices {
  /** Of a Megatron checkpoint: the directory of the Hugging Face model. By default what the checkpoint says of itself. */
  readonly hfModel?: string
  /** `HOST:PORT`, with `tls+` before it for TLS; port 0 is any. Default `127.0.0.1:0`. */
  readonly listen?: string
  /** The secret that consumers must know. By default that of `MEGATRON_MIMO_TOKEN`, or of the file `MEGATRON_MIMO_TOKEN_FILE`. */
  readonly token?: string
  /** Consumers that are expected: they start together, and when so many have got everything the server ends. By default it serves until it is interrupted. */
  readonly consumers?: number
  /** Milliseconds that the first consumer waits for others to share one reading; 250 by default. */
  readonly gather?: number
  /** Told where it listens, and what is served, as soon as it does. */
  readonly onListening?: (listening: Listening) => void
}

/** Where weights are served. */
export interface Listening {
  /** `ws://…` or `wss://…` */
  readonly url: string
  readonly tensors: number
  readonly bytes: number
}

/** What was served. */
export interface ServeReport extends Listening, Served {}

const tokenOf = ({ token }: { readonly token?: string | undefined }, needs: string): string => (token === undefined ? tokenFrom(process.env, needs) : usableToken(token))

const parseListen = (text: string): { readonly host: string; readonly port: number; readonly tls: boolean } => {
  const tls = text.startsWith("tls+")
  const address = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9][A-Za-z0-9.-]{0,254})):([0-9]{1,5})$/.exec(tls ? text.slice("tls+".length) : text)
  const port = Number(address?.[3])
  if (!address || port > 65_535) throw new UsageError({ problem: `${quote(text)} is no address to listen on`, hint: "--listen HOST:PORT, or tls+HOST:PORT." })
  return { host: address[1] ?? address[2]!, port, tls }
}

const unchangedFiles = (states: ReadonlyArray<SourceState>) => Effect.gen(function*() {
  const store = yield* storeInUse
  return async (): Promise<void> => {
    for (const { identity, path, size } of states) {
      const now = await store.stat(path).catch(() => undefined)
      if (now === undefined || now.size !== size || storedState(now).identity !== identity) throw weightsChanged(path)
    }
  }
})

const weightsOf = (tensors: ReadonlyArray<OfferedTensor>, states: ReadonlyArray<SourceState>, cuttable: boolean): Effect.Effect<OfferedWeights, never, Disk> =>
  Effect.map(unchangedFiles(states), (unchanged) => ({
    tensors, unchanged, cuttable,
    identity: JSON.stringify(states.map(({ identity, size }) => [identity, size]))
  }))

const openMegatron = Effect.fnUntraced(function*(path: string, request: ServeRequest) {
  // Its files as they are before anything of them is read.
  const store = yield* storeInUse
  const checkpoint = yield* openCheckpoint(path)
  const states = yield* attempt(() => dataFileStates(store, checkpoint))
  const { plan } = yield* prepareExport(request.hfModel ?? {}, path, { ...tensorChoices(request), families: familiesOf(request) })
  const tensors = [...plan.tensors.values()].map((tensor): OfferedTensor => {
    const source = tensor.from.kind === "repeated" ? tensor.from.tensor.from : tensor.from
    const parameters = source.kind === "model" ? source.origin.parameters.map(({ bound }) => bound) : []
    return { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, component: parameters[0]?.module.name, parameters, array: () => exportArray(plan, tensor) }
  })
  return yield* weightsOf(tensors, states, true)
})

const openHf = Effect.fnUntraced(function*(path: string, request: ServeRequest) {
  const { hf, tensors } = yield* openSpace(path, familiesOf(request))
  const opened = [...tensors.values()]
  const { whole } = yield* openTensors(opened)
  return yield* weightsOf(opened.map((tensor): OfferedTensor => ({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, component: tensor.component, parameters: [], array: () => whole(tensor) })), hf?.files ?? [], false)
})

/**
 * Serve the weights of a Megatron checkpoint or a Hugging Face directory under their Hugging Face names, until the expected consumers
 * have got everything, or until it is interrupted. Reads headers before it listens; weights are read when they are asked for.
 */
export const serveWeights = (path: string, request: ServeRequest = {}): Effect.Effect<ServeReport, JobError | StreamError, Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const { consumers, gather = SERVE_DEFAULTS.gather, listen = SERVE_DEFAULTS.listen, onListening } = request
    const at = yield* checking(() => parseListen(listen))
    if (consumers !== undefined && !(Number.isSafeInteger(consumers) && consumers >= 1 && consumers <= SERVE_BOUNDS.consumers)) return yield* new UsageError({ problem: `${consumers} consumers: between 1 and ${SERVE_BOUNDS.consumers}` })
    const token = yield* streaming(() => tokenOf(request, "whoever may have the weights must know a secret"))
    const certificate = at.tls ? yield* streaming(() => givenCertificate(process.env)) : undefined
    const weights = yield* (yield* kindOfPath(path)) === "megatron" ? openMegatron(path, request) : openHf(path, request)
    const bytes = weights.tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0)
    const engine = { maxMemory: SERVE_DEFAULTS.maxMemory, ...Object.fromEntries(Object.entries({ concurrency: request.concurrency, io: request.io, maxMemory: request.maxMemory }).filter(([, value]) => value !== undefined)) }
    const context = yield* Effect.context<Disk>()
    const { add, total } = meter("serving", request)
    const reading = (arrays: Iterable<TargetArray>) => Stream.provideContext(stream(arrays, { ...engine, lend: true }), context)
    const serving = yield* Effect.acquireRelease(
      streaming(() => startServing(weights, (arrays) => toAsyncIterable(reading(arrays)), { host: at.host, port: at.port, token, certificate, consumers, gather }, add)),
      ({ close }) => Effect.promise(close)
    )
    if (consumers !== undefined) total(bytes * consumers)
    const listening: Listening = { url: `${at.tls ? "wss" : "ws"}://${serving.host.includes(":") ? `[${serving.host}]` : serving.host}:${serving.port}/`, tensors: weights.tensors.length, bytes }
    onListening?.(listening)
    yield* Effect.promise(() => serving.finished)
    return { ...listening, ...serving.served() }
  }))

const sizeOf = ({ dtype, shape }: OfferedTensor): number => bytesOfTensor(dtype, shape)

/** What a consumer of a weight stream may say; the token is that of `MEGATRON_MIMO_TOKEN` or `MEGATRON_MIMO_TOKEN_FILE` where none is given. */
export type ConnectRequest = Omit<ConnectOptions, "token"> & { readonly token?: string }

/**
 * The weights that a server streams, in the order of the model, in pieces of up to 1 MiB. No more than `window` bytes come before they are
 * taken. A connection that breaks is made again, and the stream goes on where it was.
 */
export const connectWeights = (url: string, request: ConnectRequest = {}): Stream.Stream<ReceivedWeight, StreamRefused | StreamBroken | LaunchError> =>
  Stream.unwrap(Effect.gen(function*() {
    const { certificate: given, token: secret, ...rest } = request
    const token = yield* launching(() => tokenOf({ token: secret }, "the server's secret must be known"))
    const abort = new AbortController()
    const weights = yield* Effect.acquireRelease(
      Effect.sync(() => connectTo(url, { ...rest, token, certificate: given }, abort.signal)),
      (generator) => Effect.promise(async () => {
        abort.abort(new Error("interrupted"))
        await generator.return().catch(() => {})
      })
    )
    return values(() => weights.next(), [StreamRefused, StreamBroken, LaunchError] as const)
  }))

const launching = <A>(call: () => A) => Effect.try({ try: call, catch: (error) => error as LaunchError })
