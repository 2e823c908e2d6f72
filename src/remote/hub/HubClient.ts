/**
 * What is asked of the Hub: which commit a revision is, what files it has, and where the content of one is. The token goes to the Hub's
 * own origin only; contents lie with others, under signed addresses that end after a while.
 */
import { z } from "zod"
import { IoError, quote } from "../../errors.ts"
import type { HttpAnswer, HttpHeaders } from "../http/Answer.ts"
import type { Client } from "../http/Client.ts"
import { Transient, transientAnswer } from "../http/failures.ts"
import type { Locate } from "../http/range.ts"
import { COMMIT_HASH, hubPath, type HubPlace } from "../place.ts"

/** A file of a repository at a commit. */
export interface HubEntry {
  /** Bytes. */
  readonly size: number
  /** SHA-256 of a large file (LFS or Xet). */
  readonly sha256?: string
  /** git's SHA-1 of a blob: `sha1("blob " + size + "\0" + bytes)`; of a large file, of its pointer. */
  readonly blob: string
}

/** A repository has some hundred files; a page of the Hub's answer has a thousand. */
const MOST_ENTRIES = 200_000

const infoSchema = z.object({ sha: z.string().regex(COMMIT_HASH), private: z.boolean().optional() })
const SHA256 = /^[0-9a-f]{64}$/
const entriesSchema = z.array(z.object({
  type: z.string(), path: z.string().max(4096), size: z.int().nonnegative().optional(), oid: z.string().max(128),
  lfs: z.object({ oid: z.string().regex(SHA256), size: z.int().nonnegative() }).optional()
}))

/** A path of a repository: no way out of its folder. */
const isSafe = (path: string): boolean =>
  // eslint-disable-next-line no-control-regex
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..") && !/[\u0000-\u001f\\]/.test(path)

const refusal = (path: string, code: string, errno: string, detail: string, hint?: string): IoError =>
  new IoError({ path, operation: "read", code: `hub/${code}`, errno, detail, ...(hint === undefined ? {} : { hint }) })

export class HubClient {
  readonly #client: Client
  readonly #endpoint: URL
  readonly #token: string | undefined

  constructor(client: Client, endpoint: URL, token: string | undefined) {
    this.#client = client
    this.#endpoint = endpoint
    this.#token = token
  }

  #headersFor = (url: URL): HttpHeaders =>
    this.#token !== undefined && url.origin === this.#endpoint.origin ? { authorization: `Bearer ${this.#token}` } : {}

  #url(...parts: ReadonlyArray<string>): URL {
    return new URL(`${this.#endpoint.href.replace(/\/$/, "")}/${parts.map((part) => part.split("/").map(encodeURIComponent).join("/")).join("/")}`)
  }

  /** In words, for people who may lack a token, a licence or a letter of a name. */
  #refusal(place: HubPlace, { header, status }: HttpAnswer): IoError {
    const path = hubPath(place)
    const { repository, revision } = place
    const token = this.#token === undefined ? "no token was sent: HF_TOKEN, or `hf auth login`, gives one" : "the token of HF_TOKEN or of `hf auth login` was sent"
    switch (header("x-error-code")) {
      case "GatedRepo":
        return refusal(path, "gated", "EACCES", "is gated: its authors give it to those who accept their terms", `Accept them on ${this.#endpoint.origin}/${repository}; ${token}.`)
      case "RevisionNotFound":
        return refusal(path, "revision-not-found", "ENOENT", `${repository} has no revision ${quote(revision)}`)
      case "EntryNotFound":
        return refusal(path, "entry-not-found", "ENOENT", `${repository} has no such file at ${quote(revision)}`)
      case "RepoNotFound":
        return refusal(path, "repository-not-found", "ENOENT", `there is no model ${repository} on ${this.#endpoint.host}, or it is private`, `For a private one: ${token}.`)
      default:
        if (status === 401 || status === 403) return refusal(path, "no-access", "EACCES", `${this.#endpoint.host} refuses access to ${repository} (${status})`, `${token}.`)
        if (status === 404) return refusal(path, "repository-not-found", "ENOENT", `there is no model ${repository} on ${this.#endpoint.host}, or it is private`, `For a private one: ${token}.`)
        return refusal(path, "answer", "EPROTO", `${this.#endpoint.host} answers ${status}`)
    }
  }

  /** The commit that a revision is now. IoError `hub/…`, or what the network fails with. */
  async commitOf(place: HubPlace): Promise<string> {
    return (await this.describe(place)).commit
  }

  /** The same, and whether only its owners see it. */
  async describe(place: HubPlace): Promise<{ readonly commit: string; readonly private: boolean }> {
    const { value } = await this.#client.json(hubPath(place), this.#url("api/models", place.repository, "revision", place.revision.replaceAll("/", "%2F")), this.#headersFor, (answer) => this.#refusal(place, answer))
    const info = infoSchema.safeParse(value)
    if (!info.success) throw refusal(hubPath(place), "answer", "EPROTO", `${this.#endpoint.host} names no commit of ${place.repository}`)
    return { commit: info.data.sha, private: info.data.private ?? false }
  }

  /** All files of a commit, by path. IoError `hub/…`, or what the network fails with. */
  async entries(place: HubPlace): Promise<ReadonlyMap<string, HubEntry>> {
    const path = hubPath(place)
    const found = new Map<string, HubEntry>()
    let page: URL | undefined = this.#url("api/models", place.repository, "tree", place.revision)
    page.search = "?recursive=true&expand=false"
    while (page !== undefined) {
      const { answer, value }: { answer: HttpAnswer; value: unknown } = await this.#client.json(path, page, this.#headersFor, (refused) => this.#refusal(place, refused))
      const entries = entriesSchema.safeParse(value)
      if (!entries.success) throw refusal(path, "answer", "EPROTO", `${this.#endpoint.host} lists no files of ${place.repository}`)
      for (const { lfs, oid, path: name, size, type } of entries.data) {
        if (type !== "file") continue
        if (!isSafe(name)) throw refusal(path, "answer", "EPROTO", `${place.repository} has a file with the name ${quote(name)}`)
        found.set(name, lfs ? { size: lfs.size, sha256: lfs.oid, blob: oid } : { size: size ?? 0, blob: oid })
      }
      if (found.size > MOST_ENTRIES) throw refusal(path, "answer", "E2BIG", `${place.repository} has more than ${MOST_ENTRIES} files`)
      page = nextPage(answer)
      if (page !== undefined && page.origin !== this.#endpoint.origin) throw refusal(path, "answer", "EREDIRECT", `${this.#endpoint.host} continues its list elsewhere`)
    }
    return found
  }

  /** A small file, whole: the Hub may not give ranges of those. */
  text(place: HubPlace, { size }: HubEntry): Promise<Uint8Array> {
    const path = hubPath(place)
    const url = this.#url(place.repository, "resolve", place.revision, place.path)
    return this.#client.trying(() => this.#client.lanes.through(async () => {
      const answer = await this.#client.follow(path, url, this.#headersFor)
      if (answer.status !== 200) {
        await answer.drop()
        throw transientAnswer(path, answer) ?? this.#refusal(place, answer)
      }
      const bytes = await this.#client.whole(path, answer, size)
      if (bytes.byteLength < size) throw new Transient(refusal(path, "content", "ESHORT", "the answer ended early"))
      return bytes
    }))
  }

  /** Where the content of a file is: the Hub's own address for a small one, a signed one of somebody else for a large one. */
  locating(place: HubPlace, { sha256, size }: HubEntry): Locate {
    const path = hubPath(place)
    const url = this.#url(place.repository, "resolve", place.revision, place.path)
    let found: Promise<{ readonly url: URL; readonly headers: HttpHeaders }> | undefined
    const look = async (): Promise<{ readonly url: URL; readonly headers: HttpHeaders }> => {
      const answer = await this.#client.follow(path, url, this.#headersFor, { method: "HEAD", until: (to) => to.origin !== this.#endpoint.origin })
      await answer.drop()
      const again = transientAnswer(path, answer)
      if (again) throw again
      if (answer.status >= 400) throw this.#refusal(place, answer)
      const changed = (answer.header("x-repo-commit") ?? place.revision) !== place.revision ||
        (sha256 !== undefined && (answer.header("x-linked-etag")?.replaceAll('"', "") ?? sha256) !== sha256) ||
        Number(answer.header("x-linked-size") ?? size) !== size
      if (changed) throw refusal(path, "answer", "ESTALE", "the Hub names another content than before")
      const location = answer.header("location")
      return location === undefined ? { url: answer.url, headers: this.#headersFor(answer.url) } : { url: new URL(location, answer.url), headers: {} }
    }
    return (fresh) => {
      if (sha256 === undefined) return Promise.resolve({ url, headers: this.#headersFor(url) })
      if (fresh) found = undefined
      return found ??= look().catch((error: unknown) => {
        found = undefined
        throw error
      })
    }
  }
}

/** `Link: <…>; rel="next"`. */
const nextPage = ({ header, url }: HttpAnswer): URL | undefined => {
  const [, next] = /<([^<>]{1,4096})>\s*;\s*rel="next"/.exec(header("link") ?? "") ?? []
  return next !== undefined && URL.canParse(next, url.href) ? new URL(next, url) : undefined
}
