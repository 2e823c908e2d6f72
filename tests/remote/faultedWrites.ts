/** Imports to a bucket and exports to a Hub whose answers are spoiled: each ends with what the undisturbed one makes, or with a typed error and nothing published. */
import { Effect, Layer } from "effect"
import { Disk, MegatronMimoBridge } from "../../src/index.ts"
import { isBridgeError } from "../../src/errors.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import { Remote } from "../../src/remote/RemoteOptions.ts"
import type { FakeBucket } from "./bucket.ts"
import type { FakeHub } from "./fakeHub.ts"
import { type Fault, FAULTS, spoilAnswer } from "./faults.ts"

/** What the client follows by itself is its own business. */
export const WRITE_FAULTS: ReadonlyArray<Fault> = [
  ...FAULTS.filter(({ name }) => !/redirect|range|gzip|another size|replaced|long body/.test(name)),
  { name: "half upload", fatal: true, spoil: (response) => {
    response.req.once("data", () => { response.socket?.destroy() })
    response.req.once("end", () => { response.socket?.destroy() })
  } },
  { name: "409", fatal: true, spoil: (response) => { response.writeHead(409).end() } },
  { name: "412", fatal: true, spoil: (response) => { response.writeHead(412).end() } },
  { name: "done, but the answer is lost", fatal: true, spoil: (response, usual) => {
    response.writeHead = (() => response) as never
    response.end = (() => response.socket?.destroy()) as never
    usual()
  } },
  { name: "done, but the answer is 500", fatal: true, spoil: (response, usual) => {
    const { end, writeHead } = response
    response.writeHead = (() => response) as never
    response.end = (() => {
      writeHead.call(response, 500)
      return end.call(response, undefined as never, undefined as never)
    }) as never
    usual()
  } },
  { name: "200 with an error in it", fatal: true, spoil: (response) => {
    response.writeHead(200, { "content-type": "application/xml" }).end('<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>no</Message></Error>')
  } }
]

/** Objects that make a checkpoint of what is there. */
export const published = (tree: ReadonlyMap<string, Buffer>): ReadonlyArray<string> =>
  [...tree.keys()].filter((name) => /(^|\/)(\.metadata|latest_[^/]*|config\.json|[^/]*\.index\.json)$/.test(name))

const importTo = (hfModel: string, target: string, resume: boolean, timeout: number): Promise<unknown> =>
  Effect.runPromise(MegatronMimoBridge.fromHfPretrained(hfModel).pipe(
    Effect.flatMap((bridge) => bridge.importCheckpoint(target, { resume })),
    Effect.provideService(Remote, { timeout, patience: 1 }),
    Effect.provide(Layer.succeed(Disk, { ...nodeCalls }))
  ))

/** Names of files that only one has, or that differ. */
export const unlike = (expected: ReadonlyMap<string, Buffer>, found: ReadonlyMap<string, Buffer>): ReadonlyArray<string> =>
  [...new Set([...expected.keys(), ...found.keys()])].filter((name) => !(found.has(name) && expected.get(name)?.equals(found.get(name)!)))

/** Spoil request `at`, and, with `all`, every one after it. What went wrong with the promise, in words. */
export const writeFaulted = async (bucket: FakeBucket, hfModel: string, target: string, prefix: string, expected: ReadonlyMap<string, Buffer>, fault: Fault, at: number, all: boolean): Promise<string | undefined> => {
  await bucket.clear(prefix)
  const spoiled = spoilAnswer(bucket.proxy, fault, at, all)
  const error = await importTo(hfModel, target, false, 100).then(() => undefined, (reason: unknown) => reason)
  bucket.proxy.spoil = undefined
  if (error !== undefined) {
    if (!spoiled()) return `failed without a fault: ${String(error)}`
    if (!isBridgeError(error)) return `no typed error: ${String(error)}`
    const there = published(await bucket.tree(prefix))
    // Of a network that never comes back nothing can be taken back; the tracker is the last that is put.
    if (there.some((name) => !all || name.startsWith("latest_checkpointed"))) return `failed, and ${there.join(", ")} was published`
    const again = await importTo(hfModel, target, true, 5000).then(() => undefined, (reason: unknown) => reason)
    if (again !== undefined) return `could not go on: ${String(again)}`
  }
  const other = unlike(expected, await bucket.tree(prefix))
  if (other.length > 0) return `another checkpoint came out: ${other.join(", ")}`
  return bucket.unfinished().length > 0 ? "uploads are left" : undefined
}

/** What a repository has besides what every one has. */
export const filesOf = (hub: Pick<FakeHub, "repositories">, id: string): ReadonlyMap<string, Buffer> =>
  new Map([...hub.repositories.get(id)?.files ?? []].filter(([name]) => name !== ".gitattributes").map(([name, bytes]) => [name, Buffer.from(bytes)]))

const exportTo = (hfModel: string, megatron: string, target: string, resume: boolean, timeout: number): Promise<unknown> =>
  Effect.runPromise(MegatronMimoBridge.fromHfPretrained(hfModel).pipe(
    Effect.flatMap((bridge) => bridge.exportCheckpoint(megatron, target, { resume })),
    Effect.provideService(Remote, { timeout, patience: 1 }),
    Effect.provide(Layer.succeed(Disk, { ...nodeCalls }))
  ))

/** The same of an export to an empty repository, which becomes one commit. */
export const commitFaulted = async (hub: FakeHub, hfModel: string, megatron: string, id: string, expected: ReadonlyMap<string, Buffer>, fault: Fault, at: number, all: boolean): Promise<string | undefined> => {
  hub.repositories.set(id, { commit: "0".repeat(40), files: new Map() })
  hub.forget()
  hub.asked.length = 0
  const spoiled = spoilAnswer(hub, fault, at, all)
  const error = await exportTo(hfModel, megatron, `hf://${id}`, false, 300).then(() => undefined, (reason: unknown) => reason)
  hub.spoil = undefined
  if (hub.asked.some(({ authorization, host }) => host === "cdn" && authorization !== undefined)) return "the token reached the CDN"
  if (error !== undefined) {
    if (!spoiled()) return `failed without a fault: ${String(error)}`
    if (!isBridgeError(error)) return `no typed error: ${String(error)}`
    const there = filesOf(hub, id)
    // The commit may have been made by a network that never told so.
    if (there.size > 0) return all && unlike(expected, there).length === 0 ? undefined : `failed, and ${[...there.keys()].join(", ")} was published`
    const again = await exportTo(hfModel, megatron, `hf://${id}`, true, 5000).then(() => undefined, (reason: unknown) => reason)
    if (again !== undefined) return `could not go on: ${String(again)}`
  }
  const other = unlike(expected, filesOf(hub, id))
  return other.length > 0 ? `another model came out: ${other.join(", ")}` : undefined
}
