/**
 * A folder as one commit of a repository on the Hub, by the Hub's own library, which is installed by whoever needs it. It hashes, sends what
 * the Hub does not have yet, and commits; what goes over the network is tried again as everywhere here. Nobody sees anything of it before
 * the commit.
 */
import type * as Library from "@huggingface/hub"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { IoError, OutputRefused, some } from "../../errors.ts"
import type { Client } from "../http/Client.ts"
import { networkFailure, Transient } from "../http/failures.ts"
import { COMMIT_HASH, hubPlace, type HubPlace } from "../place.ts"
import type { HubClient, HubEntry } from "./HubClient.ts"

export interface HubUploadOptions {
  /** A repository that does not exist is made as a private one. Default: as its owner's settings say. */
  readonly private?: boolean
  /** The commit is a pull request. */
  readonly createPr?: boolean
}

/** What can go on with the Hub's token. */
export interface HubAccess {
  readonly client: Client
  readonly hub: HubClient
  readonly endpoint: URL
  readonly token: string | undefined
  /** By the newer protocol, where the Hub offers it. */
  readonly xet: boolean
}

const PACKAGE = "@huggingface/hub"
/** Of a repository's own, not of a model in it. */
const OWN = /^(\.gitattributes|README\.md|LICENSE[^/]*)$/

const refused = (path: string, code: string, problem: string, hint?: string): OutputRefused =>
  new OutputRefused({ path, code: `output/${code}`, problem, ...(hint === undefined ? {} : { hint }) })

const say = (path: string, code: string, errno: string, detail: string, hint?: string): IoError =>
  new IoError({ path, operation: "write", code: `hub/${code}`, errno, detail, ...(hint === undefined ? {} : { hint }) })

const library = async (path: string): Promise<typeof Library> =>
  import(PACKAGE).catch((error: unknown) => {
    if ((error as { readonly code?: string }).code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new IoError({ path, operation: "open", code: "place/peer", errno: "ENOPKG", detail: `writing to the Hub needs the package ${PACKAGE}`, hint: `npm install ${PACKAGE}` })
  }) as Promise<typeof Library>

/** The sum by which the Hub lists a file. */
const sumOf = async (path: string, { sha256, size }: HubEntry): Promise<string> => {
  const hash = sha256 === undefined ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256")
  for await (const part of createReadStream(path)) hash.update(part as Uint8Array)
  return hash.digest("hex")
}

export class HubUpload {
  readonly #access: HubAccess
  readonly #shown: string
  readonly #place: HubPlace
  readonly #library: typeof Library
  readonly #options: HubUploadOptions
  readonly #overwrite: boolean
  /** As it was found; undefined: there is none. */
  readonly #found: { readonly commit: string; readonly entries: ReadonlyMap<string, HubEntry> } | undefined

  private constructor(made: {
    readonly access: HubAccess
    readonly shown: string
    readonly place: HubPlace
    readonly library: typeof Library
    readonly options: HubUploadOptions
    readonly overwrite: boolean
    readonly found: { readonly commit: string; readonly entries: ReadonlyMap<string, HubEntry> } | undefined
  }) {
    this.#access = made.access
    this.#shown = made.shown
    this.#place = made.place
    this.#library = made.library
    this.#options = made.options
    this.#overwrite = made.overwrite
    this.#found = made.found
  }

  /**
   * Look at the repository, before anything is done: whether it may be written, and by whom.
   *
   * @throws IoError `place/peer`, `place/hub`, `hub/…`; OutputRefused `output/exists`, `output/not-private`
   */
  static async prepare(access: HubAccess, shown: string, options: HubUploadOptions, overwrite: boolean): Promise<HubUpload> {
    const place = hubPlace(shown)
    if (place === undefined || COMMIT_HASH.test(place.revision)) {
      throw new IoError({ path: shown, operation: "open", code: "place/hub", errno: "EINVAL", detail: "is no place of the Hub that can be written", hint: "hf://Org/Name[@branch][/path] is." })
    }
    const peer = await library(shown)
    const { hub, token } = access
    if (token === undefined) throw say(shown, "no-access", "EACCES", "nothing is written to the Hub without a token", "HF_TOKEN, or `hf auth login`, gives one.")
    const root = { ...place, path: "" }
    const described = await hub.describe(root).catch((error: unknown) => {
      if (error instanceof IoError && error.code === "hub/repository-not-found") return undefined
      throw error
    })
    if (described === undefined) return new HubUpload({ access, shown, place, library: peer, options, overwrite, found: undefined })
    const { commit, private: isPrivate } = described
    if (options.private && !isPrivate) throw refused(shown, "not-private", `${place.repository} exists and is public: --private makes only a new repository private`, "Leave the flag away, name another repository, or change that one on the Hub.")
    const entries = await hub.entries({ ...root, revision: commit })
    const below = place.path === "" ? "" : `${place.path}/`
    const there = [...entries.keys()].filter((name) => name.startsWith(below) && !OWN.test(name))
    if (there.length > 0 && !overwrite && !options.createPr) {
      throw refused(shown, "exists", `holds ${some(there, 3)}`, "--overwrite replaces what is there, in the same commit; --create-pr proposes it.")
    }
    return new HubUpload({ access, shown, place, library: peer, options, overwrite, found: { commit, entries } })
  }

  /**
   * Commit the files of a directory. What to say of it.
   *
   * @throws OutputRefused `output/changed` if somebody else has committed since; IoError
   */
  async deliver(directory: string, names: ReadonlyArray<string>): Promise<string> {
    const { client, endpoint, token, xet } = this.#access
    const { path, repository, revision } = this.#place
    const isPullRequest = this.#options.createPr ?? false
    const fetch = client.fetching(this.#shown, (url) => url.origin === endpoint.origin, `Bearer ${token}`)
    const hubUrl = endpoint.href.replace(/\/$/, "")
    const at = (name: string): string => (path === "" ? name : `${path}/${name}`)
    const root = { ...this.#place, path: "" }
    try {
      if (this.#found === undefined) await this.#create(fetch, hubUrl)
      const parent = this.#found?.commit ?? await this.#access.hub.commitOf(root)
      const below = path === "" ? "" : `${path}/`
      const ours = new Set(names.map(at))
      const gone = this.#overwrite ? [...this.#found?.entries.keys() ?? []].filter((name) => name.startsWith(below) && !OWN.test(name) && !ours.has(name)) : []
      const made = await this.#library.commit({
        repo: { type: "model", name: repository },
        branch: revision,
        title: `Upload ${names.length} files with megatron-mimo-bridge`,
        operations: [
          ...gone.map((name) => ({ operation: "delete" as const, path: name })),
          ...names.map((name) => ({ operation: "addOrUpdate" as const, path: at(name), content: pathToFileURL(join(directory, name)) }))
        ],
        parentCommit: parent,
        isPullRequest,
        hubUrl,
        accessToken: token!,
        useXet: xet,
        fetch
      })
      const commit = `one commit, ${made?.commit.oid ?? "unnamed"},`
      return made?.pullRequestUrl === undefined ? `${commit} of ${repository}` : `${commit} as the pull request ${made.pullRequestUrl}`
    } catch (error) {
      // Perhaps the answer alone was lost.
      if (!isPullRequest && await this.#isThere(directory, names, at).catch(() => false)) return `one commit of ${repository}; what it holds was compared`
      throw this.#failure(error)
    }
  }

  async #create(fetch: typeof globalThis.fetch, hubUrl: string): Promise<void> {
    await this.#library.createRepo({
      repo: { type: "model", name: this.#place.repository },
      ...(this.#options.private ? { visibility: "private" as const } : {}),
      hubUrl,
      accessToken: this.#access.token!,
      fetch
    }).catch((error: unknown) => {
      // It was made, but the answer to that got lost; or somebody else has made it, and then the commit is refused if it is not empty.
      if ((error as { readonly statusCode?: number }).statusCode !== 409) throw error
    })
  }

  /** Does the branch hold all files, by their sums, in another commit than before? */
  async #isThere(directory: string, names: ReadonlyArray<string>, at: (name: string) => string): Promise<boolean> {
    const root = { ...this.#place, path: "" }
    const commit = await this.#access.hub.commitOf(root)
    if (commit === this.#found?.commit) return false
    const entries = await this.#access.hub.entries({ ...root, revision: commit })
    for (const name of names) {
      const entry = entries.get(at(name))
      if (entry === undefined || await sumOf(join(directory, name), entry) !== (entry.sha256 ?? entry.blob)) return false
    }
    return true
  }

  #failure(thrown: unknown): unknown {
    const network = networkFailure(this.#shown, thrown, true, "write")
    const error = network instanceof Transient ? network.failure : network
    if (error instanceof IoError) return new IoError({ path: this.#shown, operation: "write", errno: error.errno, ...(error.detail === undefined ? {} : { detail: error.detail }) })
    const { message, statusCode } = error as { readonly statusCode?: number; readonly message?: string }
    if (statusCode === undefined) {
      return error instanceof this.#library.InvalidApiResponseFormatError || error instanceof SyntaxError || /invalid|cannot get/i.test(message ?? "")
        ? say(this.#shown, "answer", "EPROTO", `the Hub's answer is not understood; nothing was committed`)
        : error
    }
    const repository = this.#place.repository
    if (statusCode === 409 || statusCode === 412) return refused(this.#shown, "changed", `somebody else has committed to ${repository} while the work went on; nothing was committed`, "Look at what it is, then run the command again.")
    if (statusCode === 401 || statusCode === 403) return say(this.#shown, "no-access", "EACCES", `the Hub refuses to let this token write to ${repository} (${statusCode})`, "The token needs the right to write there: https://huggingface.co/settings/tokens.")
    return say(this.#shown, "answer", "EPROTO", `the Hub answers ${statusCode}; nothing was committed`)
  }
}
