/**
 * Names of models and checkpoints: a directory, a folder of the Hugging Face Hub's cache (`models--Org--Name`), a Hub id
 * `Org/Name[@revision]`, or an address (`hf://`, `https://`, `s3://`). An id is looked for on the disk, then in the cache, then, unless
 * that is forbidden, on the Hub.
 */
import { dirname, join, resolve } from "node:path"
import { InvalidFile, IoError, quote, UsageError } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { type RemoteEnvironment, hubCacheDirectory, isOffline } from "./environment.ts"
import { repositoryFolder } from "./hub/HubCache.ts"
import { canonical, COMMIT_HASH, DEFAULT_REVISION, HUB_ID, hubPath, hubPlace, idWithRevision, isRemote, REVISION, schemeOf } from "./place.ts"

const LARGEST_REF = 4096

const isDirectory = async (store: Store, path: string): Promise<boolean> => {
  try {
    return (await store.stat(path)).kind === "directory"
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

/** The commit that a revision names in a cached repository; undefined if it is not there. */
const commitOf = async (store: Store, repository: string, revision: string): Promise<string | undefined> => {
  const ref = join(repository, "refs", revision)
  try {
    const commit = Buffer.from(await readSmall(store, ref, ref, LARGEST_REF)).toString("utf8").trim()
    if (!/^[\w-]{1,64}$/.test(commit)) throw new InvalidFile({ path: ref, code: "hub/ref", problem: "names no commit" })
    return commit
  } catch (error) {
    if (!isMissing(error)) throw error
    return undefined
  }
}

const snapshotIn = async (store: Store, repository: string, revision: string): Promise<string | undefined> => {
  const commit = COMMIT_HASH.test(revision) ? revision : await commitOf(store, repository, revision)
  const snapshot = commit === undefined ? undefined : join(repository, "snapshots", commit)
  return snapshot !== undefined && await isDirectory(store, snapshot) ? snapshot : undefined
}

/** Does a snapshot hold weights, every shard of them? A program that only read the configuration has left others out. */
const hasWeights = async (store: Store, snapshot: string): Promise<boolean> => {
  const names = await store.list(snapshot)
  const count = names.map((name) => /-of-(\d{5})\.(?:safetensors|bin)$/.exec(name)?.[1]).find((n) => n !== undefined)
  if (count !== undefined) return names.filter((name) => name.includes(`-of-${count}.`)).length >= Number(count)
  return names.some((name) => /\.(safetensors|bin)$/.test(name))
}

/** What the Hub says to a name, as an error about the name. */
const refused = (name: string) => (error: unknown): never => {
  if (!(error instanceof IoError) || !error.code.startsWith("hub/")) throw error
  throw new InvalidFile({ path: name, code: error.code, problem: error.detail ?? error.summary, ...(error.hint === undefined ? {} : { hint: error.hint }) })
}

/** A place on the Hub, its revision pinned to the commit that it is now; a place elsewhere in its one spelling. */
const remotePlace = async (store: Store, name: string, revision: string | undefined, env: RemoteEnvironment): Promise<string> => {
  if (schemeOf(name) !== "hf") {
    if (revision !== undefined) throw new UsageError({ problem: `--hf-revision ${revision}: ${quote(name)} has no revisions`, hint: "Leave the flag away." })
    return canonical(name)
  }
  const place = hubPlace(name)
  if (place === undefined) throw new UsageError({ code: "usage/place", problem: `${quote(name)} is no place of the Hub`, hint: "hf://Org/Name[@revision][/path] is." })
  if (revision !== undefined && name.includes("@")) throw new UsageError({ problem: `--hf-revision ${revision}: ${quote(name)} says its revision itself`, hint: "Leave one of them away." })
  const wanted = { ...place, revision: revision ?? place.revision }
  if (!isOffline(env)) return store.realpath(hubPath(wanted)).catch(refused(name))
  const snapshot = await snapshotIn(store, repositoryFolder(hubCacheDirectory(env), place.repository), wanted.revision)
  if (snapshot !== undefined) return join(snapshot, place.path)
  throw new InvalidFile({ path: name, code: "hub/offline", problem: `is not in the Hub's cache at revision ${wanted.revision}, and HF_HUB_OFFLINE forbids to ask the Hub`, hint: `Looked at: ${quote(repositoryFolder(hubCacheDirectory(env), place.repository))}.` })
}

const NETWORK = new Set(["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "ECONNRESET", "ETLS", "EREDIRECT"])

/** A Hub id: the cache's snapshot of it, else its place on the Hub. */
const idPlace = async (store: Store, name: string, id: string, wanted: string, revision: string | undefined, env: RemoteEnvironment): Promise<string> => {
  const repository = repositoryFolder(hubCacheDirectory(env), id)
  const snapshot = await snapshotIn(store, repository, wanted)
  const asks = !isOffline(env) && id.includes("/") && !(await isDirectory(store, id.slice(0, id.indexOf("/"))))
  if (snapshot !== undefined && (!asks || await hasWeights(store, snapshot))) return snapshot
  let unreached = isOffline(env) ? "; HF_HUB_OFFLINE forbids to ask the Hub" : ""
  if (asks) {
    try {
      return await store.realpath(hubPath({ repository: id, revision: wanted, path: "" })).catch(refused(name))
    } catch (error) {
      if (!(error instanceof IoError && NETWORK.has(error.errno))) throw error
      // Without a network the cache is what there is.
      if (snapshot !== undefined) return snapshot
      unreached = `; the Hub was not reached (${error.errno})`
    }
  }
  throw new InvalidFile({
    path: name,
    code: "hub/not-found",
    problem: `is neither a directory nor a model in the Hub's cache${unreached}`,
    hint: `Looked at: ${quote(resolve(name))}, ${quote(repository)} (revision ${wanted}).\n` +
      `  hf download ${id}${revision === undefined ? "" : ` --revision ${revision}`} fetches it; HF_HOME or HF_HUB_CACHE says where the cache is.`
  })
}

/** A folder of the Hub's cache: the snapshot of a revision in it. */
const cachedRepository = async (store: Store, name: string, wanted: string): Promise<string> => {
  const snapshot = await snapshotIn(store, name, wanted)
  if (snapshot !== undefined) return snapshot
  throw new InvalidFile({ path: name, code: "hub/revision-not-cached", problem: `is a folder of the Hub's cache that does not hold revision ${wanted}`, hint: `In it: ${(await store.list(join(name, "snapshots"))).slice(0, 5).map(quote).join(", ") || "no snapshot"}.` })
}

/**
 * The directory that a model's name stands for. `name`: a directory (taken as it is, unless it is a cached repository), a Hub id, or an
 * address. `revision`: branch, tag or commit; default `main`.
 *
 * @throws InvalidFile `hub/not-found` and `hub/revision-not-cached` with every place that was looked at and the command that downloads the
 * model, `hub/gated` and the others of what the Hub says, `hub/ref`; UsageError for a revision or an address that is none; IoError
 */
export const modelDirectory = async (store: Store, name: string, revision?: string, env: RemoteEnvironment = process.env): Promise<string> => {
  if (revision !== undefined && !REVISION.test(revision)) throw new UsageError({ problem: `--hf-revision ${quote(revision)} is no branch, tag or commit` })
  if (isRemote(name)) return remotePlace(store, name, revision, env)
  const wanted = revision ?? DEFAULT_REVISION
  if (await isDirectory(store, name)) {
    if (await isDirectory(store, join(name, "snapshots")) && await isDirectory(store, join(name, "refs"))) return cachedRepository(store, name, wanted)
    if (revision === undefined) return name
    throw new UsageError({ problem: `--hf-revision ${revision}: ${quote(name)} is a directory, which has no revisions`, hint: "Leave the flag away, or name the model by its Hub id." })
  }
  const own = idWithRevision(name)
  if (own !== undefined && revision === undefined) return idPlace(store, name, own.id, own.revision, own.revision, env)
  // A path that does not exist is one that somebody meant as a path: what opens it says so.
  if (!HUB_ID.test(name) || /^\.{1,2}$/.test(name)) return name
  return idPlace(store, name, name, wanted, revision, env)
}

/** Organisation and name: without a slash it could be any file. */
const FULL_ID = /^[^/]+\/[^/]+$/

/**
 * What a path to a checkpoint of any kind stands for: itself, an address, or a model of the Hub where nothing is at the path. A name that
 * is neither stays as it is, and what opens it says so, if its first part is a folder here; otherwise it can only be a Hub id.
 *
 * @throws as {@link modelDirectory}
 */
export const checkpointPlace = async (store: Store, name: string, env: RemoteEnvironment = process.env): Promise<string> => {
  if (isRemote(name) || await isDirectory(store, name)) return modelDirectory(store, name, undefined, env)
  if (!FULL_ID.test(name) || !(HUB_ID.test(name) || idWithRevision(name) !== undefined)) return name
  if (!(await isDirectory(store, dirname(name)))) return modelDirectory(store, name, undefined, env)
  return await snapshotIn(store, repositoryFolder(hubCacheDirectory(env), name), DEFAULT_REVISION) ?? name
}
