/**
 * Model names: a directory, a folder of the Hugging Face Hub's cache (`models--Org--Name`), or a Hub id `Org/Name`, looked for in
 * that cache. Nothing is downloaded. The cache's layout is the official Python client's: `refs/<revision>` holds a commit,
 * `snapshots/<commit>/` the files, as links to blobs.
 */
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { InvalidFile, quote, UsageError } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"

type Environment = Readonly<Record<string, string | undefined>>

/** Where the Hub's cache is: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
export const hubCacheDirectory = (env: Environment = process.env): string =>
  env["HF_HUB_CACHE"] || join(env["HF_HOME"] || join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "huggingface"), "hub")

/** `Org/Name` or an old `Name`, as the Hub allows them. */
const HUB_ID = /^(?:[A-Za-z0-9][\w.-]{0,95}\/)?[A-Za-z0-9][\w.-]{0,95}$/
/** No way out of a folder. */
const REVISION = /^(?!.*\.\.)[A-Za-z0-9][\w./-]{0,254}$/
const COMMIT = /^[0-9a-f]{40}$/

const DEFAULT_REVISION = "main"
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
  const commit = COMMIT.test(revision) ? revision : await commitOf(store, repository, revision)
  const snapshot = commit === undefined ? undefined : join(repository, "snapshots", commit)
  return snapshot !== undefined && await isDirectory(store, snapshot) ? snapshot : undefined
}

/**
 * The directory that a model's name stands for. `name`: a directory (taken as it is, unless it is a cached repository), or a Hub id.
 * `revision`: branch, tag or commit; default `main`.
 *
 * @throws InvalidFile `hub/not-found` and `hub/revision-not-cached` with every place that was looked at and the command that downloads the
 * model, `hub/ref`; UsageError for a revision that is none; IoError
 */
export const modelDirectory = async (store: Store, name: string, revision?: string, env: Environment = process.env): Promise<string> => {
  if (revision !== undefined && !REVISION.test(revision)) throw new UsageError({ problem: `--hf-revision ${quote(revision)} is no branch, tag or commit` })
  const wanted = revision ?? DEFAULT_REVISION
  if (await isDirectory(store, name)) {
    const isRepository = await isDirectory(store, join(name, "snapshots")) && await isDirectory(store, join(name, "refs"))
    if (!isRepository) {
      if (revision === undefined) return name
      throw new UsageError({ problem: `--hf-revision ${revision}: ${quote(name)} is a directory, which has no revisions`, hint: "Leave the flag away, or name the model by its Hub id." })
    }
    const snapshot = await snapshotIn(store, name, wanted)
    if (snapshot !== undefined) return snapshot
    throw new InvalidFile({ path: name, code: "hub/revision-not-cached", problem: `is a folder of the Hub's cache that does not hold revision ${wanted}`, hint: `In it: ${(await store.list(join(name, "snapshots"))).slice(0, 5).map(quote).join(", ") || "no snapshot"}.` })
  }
  // A path that does not exist is one that somebody meant as a path: what opens it says so.
  if (!HUB_ID.test(name) || /^\.{1,2}$/.test(name)) return name
  const repository = join(hubCacheDirectory(env), `models--${name.replace("/", "--")}`)
  const snapshot = await snapshotIn(store, repository, wanted)
  if (snapshot !== undefined) return snapshot
  throw new InvalidFile({
    path: name,
    code: "hub/not-found",
    problem: "is neither a directory nor a model in the Hub's cache",
    hint: `Looked at: ${quote(resolve(name))}, ${quote(repository)} (revision ${wanted}).\n` +
      `  hf download ${name}${revision === undefined ? "" : ` --revision ${revision}`} fetches it; HF_HOME or HF_HUB_CACHE says where the cache is.`
  })
}

/** Organisation and name: without a slash it could be any file. */
const FULL_ID = /^[^/]+\/[^/]+$/

/**
 * What a path to a checkpoint of any kind stands for: itself, or a model of the Hub's cache where nothing is at the path. A name that is
 * neither stays as it is, and what opens it says so, if its first part is a folder here; otherwise it can only be a Hub id.
 *
 * @throws InvalidFile `hub/not-found`, as {@link modelDirectory}; IoError
 */
export const checkpointPlace = async (store: Store, name: string, env: Environment = process.env): Promise<string> => {
  if (await isDirectory(store, name)) return modelDirectory(store, name, undefined, env)
  if (!FULL_ID.test(name) || !HUB_ID.test(name)) return name
  const isPath = await isDirectory(store, name.slice(0, name.indexOf("/")))
  const snapshot = await snapshotIn(store, join(hubCacheDirectory(env), `models--${name.replace("/", "--")}`), DEFAULT_REVISION)
  return snapshot ?? (isPath ? name : modelDirectory(store, name, undefined, env))
}
