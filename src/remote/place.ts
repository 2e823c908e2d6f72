/**
 * Paths that are not on this machine's disk: `hf://Org/Name[@revision][/path]`, `https://host/path`, `s3://bucket/prefix`. Once joined by
 * `node:path` they have one slash after the colon; both spellings are the same place.
 */
import { posix } from "node:path"

export type Scheme = "hf" | "https" | "http" | "s3"

const REMOTE = /^(hf|https|http|s3):\/+/

/** The scheme of a remote path; undefined for a path of the local disk. */
export const schemeOf = (path: string): Scheme | undefined => REMOTE.exec(path)?.[1] as Scheme | undefined

export const isRemote = (path: string): boolean => schemeOf(path) !== undefined

/** What the engine is to know of sources: some of them are far away. */
export const farAway = (...paths: ReadonlyArray<string>): { readonly far?: boolean } => (paths.some(isRemote) ? { far: true } : {})

/** The one spelling of a remote path that is used inside: one slash after the colon, no `.`, `..` or empty parts, none at the end. */
export const canonical = (path: string): string => {
  const scheme = schemeOf(path)
  if (scheme === undefined) return path
  const rest = path.slice(path.match(REMOTE)![0].length)
  return `${scheme}:${posix.join("/", rest).replace(/(?<=.)\/$/, "")}`
}

/** A place in a repository of the Hub. */
export interface HubPlace {
  /** `Org/Name`, or an old `Name`. */
  readonly repository: string
  /** Branch, tag or commit. */
  readonly revision: string
  /** Within the repository, without slashes around it; empty for its root. */
  readonly path: string
}

/** One part of an id, as the Hub allows them. */
const NAME = String.raw`[A-Za-z0-9][\w.-]{0,95}`
/** `Org/Name` or an old `Name`. */
export const HUB_ID = new RegExp(`^(?:${NAME}/)?${NAME}$`)
/** Branch, tag or commit: no way out of a folder. */
export const REVISION = /^(?!.*\.\.)[A-Za-z0-9][\w./-]{0,254}$/
export const COMMIT_HASH = /^[0-9a-f]{40}$/
export const DEFAULT_REVISION = "main"

const HUB_PLACE = new RegExp(`^hf:/+(${NAME}/${NAME})(?:@([^/]+))?(?:/(.*))?$`)

/** What `hf://Org/Name[@revision][/path]` names; undefined if it is no such thing. A slash in a revision is written `%2F`. */
export const hubPlace = (path: string): HubPlace | undefined => {
  const [, repository, revision = DEFAULT_REVISION, rest = ""] = HUB_PLACE.exec(canonical(path)) ?? []
  const name = revision.replaceAll(/%2f/gi, "/")
  return repository === undefined || !REVISION.test(name) ? undefined : { repository, revision: name, path: rest }
}

/** The path of a place of the Hub. */
export const hubPath = ({ path, repository, revision }: HubPlace): string =>
  `hf:/${repository}@${revision.replaceAll("/", "%2F")}${path === "" ? "" : `/${path}`}`

/** `Org/Name@revision` as people write it on a command line. */
const WITH_REVISION = new RegExp(`^((?:${NAME}/)${NAME})@(.+)$`)

/** An id with a revision behind it; undefined for anything else. */
export const idWithRevision = (name: string): { readonly id: string; readonly revision: string } | undefined => {
  const [, id, revision] = WITH_REVISION.exec(name) ?? []
  return id === undefined || revision === undefined || !REVISION.test(revision) ? undefined : { id, revision }
}
