/** A process's part in a job whose coordinator is reached over WebSockets, from joining to leaving. */
import { setTimeout as pause } from "node:timers/promises"
import { ClusterError, LaunchError, quote } from "../../errors.ts"
import { Coordinator } from "../Coordinator.ts"
import { errorOf } from "../failures.ts"
import { type Limits, seconds } from "../limits.ts"
import { Member } from "../Member.ts"
import type { MemberWorld } from "../memberWorld.ts"
import type { Envelope, JobFailure } from "../messages.ts"
import type { Rendezvous } from "../rendezvous.ts"
import type { Environment } from "../../websocket/Environment.ts"
import type { Launch } from "../launch.ts"
import { ownAddress } from "./address.ts"
import { givenCertificate, selfSigned, trustedCertificate } from "../../websocket/certificate.ts"
import { attach, connect, type Endpoint, NotConnected } from "./client.ts"
import { type Notice, publishNotice, readNotice, withdraw } from "./endpoint.ts"
import type { OpenDoor } from "../../websocket/door.ts"
import { listen } from "./server.ts"
import { newToken, tokenFrom } from "../../websocket/token.ts"

export interface SessionOptions {
  readonly launch: Launch
  readonly run: Envelope
  readonly rendezvous: Exclude<Rendezvous, { kind: "file" }>
  readonly plan: string
  readonly version: string
  readonly limits: Limits
  readonly env: Environment
  /** At rank 0: whether a process that is not here may still come; by default any may. */
  readonly mayCome?: ((rank: number) => boolean) | undefined
}

export interface Session extends MemberWorld {
  /** Leave the job: done, or for this reason. */
  readonly close: (failure: JobFailure | undefined) => Promise<void>
}

const now = (): number => performance.now()
/** A process that ends the job waits so long for the coordinator to have heard it. */
const LAST_WORDS = 2_000
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 2_000

export const openSession = (options: SessionOptions, signal: AbortSignal): Promise<Session> =>
  options.launch.rank === 0 ? lead(options, signal) : follow(options, signal)

const memberOf = ({ launch, limits, plan, run, version }: SessionOptions, send: (data: string) => void): Member =>
  new Member({ run, rank: launch.rank, world: launch.worldSize, plan, version, limits, now, send })

/** Often enough for a beat, however short. */
const ticking = (limits: Limits, tick: () => void): { readonly stop: () => void } => {
  const timer = setInterval(tick, Math.max(1, limits.beat / 5))
  return { stop: () => clearInterval(timer) }
}

const lead = async (options: SessionOptions, signal: AbortSignal): Promise<Session> => {
  const { env, launch, limits, mayCome, plan, rendezvous, run, version } = options
  const certificate = !rendezvous.tls ? undefined : rendezvous.kind === "directory" ? await selfSigned() : await givenCertificate(env)
  const token = rendezvous.kind === "directory" ? newToken() : tokenFrom(env)
  const coordinator = new Coordinator({ run, world: launch.worldSize, plan, version, limits, now, mayCome })
  const at = rendezvous.kind === "directory" ? { host: await ownAddress(launch), port: 0 } : rendezvous
  const door = await listen(coordinator, { host: at.host, port: at.port, token, certificate, world: launch.worldSize })
  const timer = ticking(limits, () => {
    coordinator.tick()
    member.tick()
  })
  // Its own member is in this process; what is sent arrives later, as over a socket.
  const member: Member = memberOf(options, (data) => queueMicrotask(() => coordinator.receive(seat, data)))
  const seat = coordinator.connect({ send: (data) => queueMicrotask(() => member.receive(data)), close: () => queueMicrotask(() => member.closed()) })
  const end = async (): Promise<void> => {
    timer.stop()
    const { failure, isOver } = coordinator
    // Whoever comes late shall learn why there is nobody.
    if (rendezvous.kind === "directory") await (failure === undefined || isOver ? withdraw(rendezvous.path, run) : publishNotice(rendezvous.path, run, { failure }).catch(() => {}))
    await door.close()
  }
  try {
    signal.throwIfAborted()
    if (rendezvous.kind === "directory") await publishNotice(rendezvous.path, run, { endpoint: { host: door.host, port: door.port, token, certificate: certificate?.cert } })
    await member.hello()
  } catch (error) {
    await end()
    throw error
  }
  return {
    member, run, limits, coordinator, rank: 0, world: launch.worldSize, notes: [`${launch.worldSize} processes met at ${addressOf(door)}`],
    close: async (failure) => {
      if (failure !== undefined) coordinator.fail(failure)
      await member.leave()
      // Done: others may still work, and are watched. Failed: they hear of it and go, also those who are still to come.
      const until = now() + limits.silence
      while (!coordinator.isOver && (coordinator.failure === undefined || now() < until)) await pause(20)
      await end()
    }
  }
}

/** Wait for something, but not for ever. */
const within = async (promise: Promise<unknown>, milliseconds: number): Promise<void> => {
  const over = new AbortController()
  await Promise.race([promise, pause(milliseconds, undefined, { signal: over.signal })]).finally(() => over.abort())
}

const addressOf = ({ host, port }: Pick<OpenDoor, "host" | "port">): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const follow = async (options: SessionOptions, signal: AbortSignal): Promise<Session> => {
  const { launch, limits, run } = options
  const until = now() + limits.join
  let wait = FIRST_PAUSE
  let last = "nothing is known of where it listens"
  let failedSince: number | undefined
  for (;;) {
    const found = await noticeOf(options)
    if (found !== undefined && "endpoint" in found) {
      failedSince = undefined
      const joined = await join(options, found.endpoint, signal)
      if (typeof joined !== "string") return { ...joined, run, limits, coordinator: undefined, rank: launch.rank, world: launch.worldSize, notes: [] }
      last = `${addressOf(found.endpoint)}: ${joined}`
    } else if (found !== undefined) {
      // The job failed before this process came, or it is being started again.
      failedSince ??= now()
      if (now() - failedSince > limits.silence) throw errorOf(found.failure, launch.rank)
    }
    if (now() > until) {
      throw new ClusterError({
        code: "cluster/join",
        problem: `rank 0 was not reached within ${seconds(limits.join)} (${quote(last)})`,
        hint: "Does rank 0 run, and can this host reach it? --rendezvous file needs no connection."
      })
    }
    // All at once would come back all at once.
    await pause(wait * (0.5 + Math.random()), undefined, { signal })
    wait = Math.min(LONGEST_PAUSE, wait * 1.5)
  }
}

const noticeOf = async ({ env, rendezvous, run }: SessionOptions): Promise<Notice | undefined> =>
  rendezvous.kind === "directory" ? readNotice(rendezvous.path, run) : {
    endpoint: { host: rendezvous.host, port: rendezvous.port, token: tokenFrom(env), certificate: rendezvous.tls ? await trustedCertificate(env) : undefined }
  }

/** Connect and say hello; a string says why that may succeed later. */
const join = async (options: SessionOptions, endpoint: Endpoint, signal: AbortSignal): Promise<Pick<Session, "member" | "close"> | string> => {
  const { limits, rendezvous } = options
  let ws
  try {
    ws = await connect(endpoint, limits.silence, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof NotConnected)) throw error
    // What was read from a file may be of a coordinator that has gone.
    if (!error.denied || rendezvous.kind === "directory") return error.message
    throw new LaunchError({ code: "launch/token", problem: `the coordinator at ${addressOf(endpoint)} does not know this token`, hint: "All processes of a job need the same MEGATRON_MIMO_TOKEN." })
  }
  const member = memberOf(options, (data) => ws.send(data, () => {}))
  attach(ws, member)
  const timer = ticking(limits, () => member.tick())
  const end = (): void => {
    timer.stop()
    ws.close(1000)
    setTimeout(() => ws.terminate(), 1000).unref()
  }
  const silent = new AbortController()
  try {
    const answered = await Promise.race([
      member.hello().then(() => true),
      pause(limits.planning, false, { signal: AbortSignal.any([signal, silent.signal]) })
    ])
    if (!answered) {
      end()
      return "it does not answer"
    }
  } catch (error) {
    end()
    if (error instanceof ClusterError && error.code === "cluster/coordinator-lost") return "it went away"
    throw error
  } finally {
    silent.abort()
  }
  return {
    member,
    close: async (failure) => {
      if (failure !== undefined && member.error === undefined) {
        member.fail(failure)
        await within(member.failed, LAST_WORDS)
      }
      await within(member.leave(), LAST_WORDS)
      end()
    }
  }
}
