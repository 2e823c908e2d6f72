/**
 * A Hub on loopback, as its clients see it: models, trees in pages, `resolve` with signed addresses on another host (127.0.0.2), gated and
 * private repositories, rate limits. What it hands out can be spoiled by a test.
 */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface FakeRepository {
  readonly commit: string
  readonly files: ReadonlyMap<string, Uint8Array>
  /** Branches and tags besides `main`. */
  readonly refs?: ReadonlyMap<string, string>
  readonly gated?: boolean
  /** Needs a token. */
  readonly private?: boolean
  /** Files that are larger than what is kept of them; the rest is zeros. */
  readonly sizes?: ReadonlyMap<string, number>
  /** Pull requests: their files. */
  readonly proposed?: Array<ReadonlyMap<string, Uint8Array>>
}

export interface Asked {
  readonly host: "hub" | "cdn"
  readonly method: string
  readonly url: string
  readonly authorization: string | undefined
  readonly range: string | undefined
}

/** Answers in place of the usual one; true: it did. */
export type Spoil = (asked: Asked, response: ServerResponse, usual: () => void) => boolean

export interface FakeHub {
  readonly endpoint: string
  readonly asked: Array<Asked>
  readonly repositories: Map<string, FakeRepository>
  spoil: Spoil | undefined
  /** Signed addresses given out before this are not valid any more. */
  readonly expire: () => void
  /** Large files are to be sent again, as to a Hub that has none of them. */
  readonly forget: () => void
  readonly close: () => Promise<void>
}

export const TOKEN = "hf_of_the_tests"
const PAGE = 3

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const gitBlob = (bytes: Uint8Array): string => createHash("sha1").update(`blob ${bytes.byteLength}\0`).update(bytes).digest("hex")
const isLarge = (name: string): boolean => /\.(safetensors|distcp|bin)$/.test(name)

const listen = (host: string, handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer(handle)
    server.listen(0, host, () => resolve(server))
  })

/** The bytes of a request with or without a range. */
export const sendBytes = (response: ServerResponse, bytes: Uint8Array, range: string | undefined, headers: Record<string, string> = {}, size = bytes.byteLength): void => {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? []
  if (first === undefined) {
    response.writeHead(200, { ...headers, "content-length": bytes.byteLength, "accept-ranges": "bytes" }).end(bytes)
    return
  }
  const start = Number(first)
  const end = Math.min(size, last === "" ? size : Number(last) + 1)
  if (start >= size) {
    response.writeHead(416, { "content-range": `bytes */${size}` }).end()
    return
  }
  const kept = bytes.subarray(start, end)
  response.writeHead(206, { ...headers, "content-length": end - start, "content-range": `bytes ${start}-${end - 1}/${size}` }).end(kept.byteLength === end - start ? kept : Buffer.concat([kept], end - start))
}

export const startFakeHub = async (): Promise<FakeHub> => {
  const repositories = new Map<string, FakeRepository>()
  const asked: Array<Asked> = []
  const contents = new Map<string, Uint8Array>()
  /** Of contents that are larger than what is kept of them. */
  const sizes = new Map<string, number>()
  let epoch = 0
  const note = (host: Asked["host"], { headers, method = "GET", url = "/" }: IncomingMessage): Asked => {
    const entry = { host, method, url, authorization: headers.authorization, range: headers.range }
    asked.push(entry)
    return entry
  }
  const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
    const parts: Array<Buffer> = []
    for await (const part of request) parts.push(part as Buffer)
    return Buffer.concat(parts)
  }
  const cdn = await listen("127.0.0.2", (request, response) => {
    const entry = note("cdn", request)
    const usual = (): void => {
      const url = new URL(entry.url, "http://cdn")
      if (Number(url.searchParams.get("epoch")) !== epoch) {
        response.writeHead(403).end("expired")
        return
      }
      if (entry.method === "PUT") {
        bodyOf(request).then((body) => {
          if (sha256(body) !== url.pathname.slice(1)) return response.writeHead(400).end("another sum")
          contents.set(url.pathname.slice(1), body)
          return response.writeHead(200).end()
        }, () => { response.destroy() })
        return
      }
      const bytes = contents.get(url.pathname.slice(1))
      if (bytes === undefined) response.writeHead(404).end()
      else sendBytes(response, bytes, entry.range, { etag: `"${url.pathname.slice(1)}"` }, sizes.get(url.pathname.slice(1)))
    }
    if (!hub.spoil?.(entry, response, usual)) usual()
  })
  const cdnAddress = `http://127.0.0.2:${(cdn.address() as AddressInfo).port}`
  const refuse = (response: ServerResponse, status: number, code?: string): void => {
    response.writeHead(status, code === undefined ? {} : { "x-error-code": code }).end(JSON.stringify({ error: code ?? "no" }))
  }
  const server = await listen("127.0.0.1", (request, response) => {
    const entry = note("hub", request)
    const usual = (): void => {
      if (entry.method === "POST") bodyOf(request).then((body) => take(entry, body, response), () => { response.destroy() })
      else answer(entry, response)
    }
    if (!hub.spoil?.(entry, response, usual)) usual()
  })
  /** What is written: repositories, large files, commits. */
  const take = ({ authorization, url }: Asked, body: Buffer, response: ServerResponse): void => {
    const json = (value: unknown): void => { response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value)) }
    const { pathname, searchParams } = new URL(url, endpoint)
    if (authorization !== `Bearer ${TOKEN}`) return refuse(response, 401)
    if (pathname === "/api/repos/create") {
      const { name, organization, visibility } = JSON.parse(body.toString()) as { name: string; organization: string; visibility?: string }
      const id = `${organization}/${name}`
      if (repositories.has(id)) return refuse(response, 409)
      repositories.set(id, { commit: createHash("sha1").update(id).digest("hex"), files: new Map([[".gitattributes", Buffer.from("")]]), private: visibility === "private" })
      return json({ url: `${endpoint}/${id}`, id })
    }
    const [, batch] = /^\/([\w.-]+\/[\w.-]+)\.git\/info\/lfs\/objects\/batch$/.exec(pathname) ?? []
    if (batch !== undefined) {
      const { objects } = JSON.parse(body.toString()) as { objects: ReadonlyArray<{ oid: string; size: number }> }
      return json({ transfer: "basic", objects: objects.map(({ oid, size }) => ({ oid, size, ...(contents.has(oid) ? {} : { actions: { upload: { href: `${cdnAddress}/${oid}?epoch=${epoch}&signature=secret` } } }) })) })
    }
    const [, id = "", kind, branch] = /^\/api\/models\/([\w.-]+\/[\w.-]+)\/(preupload|commit)\/(.+)$/.exec(pathname) ?? []
    const repository = repositories.get(id)
    if (repository === undefined || branch !== "main") return refuse(response, 404, "RepoNotFound")
    if (kind === "preupload") {
      const { files } = JSON.parse(body.toString()) as { files: ReadonlyArray<{ path: string }> }
      return json({ files: files.map(({ path }) => ({ path, uploadMode: isLarge(path) ? "lfs" : "regular", shouldIgnore: false, oid: null })) })
    }
    const files = new Map(repository.files)
    for (const line of body.toString().split("\n")) {
      const { key, value } = JSON.parse(line) as { key: string; value: { path: string; oid: string; content: string; parentCommit?: string } }
      if (key === "header" && value.parentCommit !== undefined && value.parentCommit !== repository.commit) return refuse(response, 412)
      if (key === "deletedFile") files.delete(value.path)
      if (key === "file") files.set(value.path, Buffer.from(value.content, "base64"))
      if (key === "lfsFile") {
        const bytes = contents.get(value.oid)
        if (bytes === undefined) return refuse(response, 400)
        files.set(value.path, bytes)
      }
    }
    const commit = createHash("sha1").update(body).update(repository.commit).digest("hex")
    if (searchParams.get("create_pr") === "1") {
      repositories.set(id, { ...repository, proposed: [...repository.proposed ?? [], files] })
      return json({ commitOid: commit, commitUrl: "", pullRequestUrl: `${endpoint}/${id}/discussions/1`, hookOutput: "" })
    }
    repositories.set(id, { ...repository, commit, files })
    json({ commitOid: commit, commitUrl: "", hookOutput: "" })
  }
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const answer = ({ authorization, method, range, url }: Asked, response: ServerResponse): void => {
    const { pathname, searchParams } = new URL(url, endpoint)
    const [, api, id, rest] = /^(\/api\/models)?\/([\w.-]+\/[\w.-]+)(?:\/(.*))?$/.exec(decodeURIComponent(pathname)) ?? []
    const repository = repositories.get(id ?? "")
    const known = authorization === `Bearer ${TOKEN}`
    if (repository === undefined || (repository.private && !known)) return refuse(response, known ? 404 : 401, "RepoNotFound")
    const revisionOf = (text: string): string | undefined => (text === "main" || text === repository.commit ? repository.commit : repository.refs?.get(text))
    if (api) {
      const [kind, name = "main"] = (rest ?? "revision/main").split(/\/(.*)/)
      const commit = revisionOf(kind === "tree" ? name.split("/")[0]! : name)
      if (commit === undefined) return refuse(response, 404, "RevisionNotFound")
      if (kind === "revision") {
        response.writeHead(200, { "content-type": "application/json", "x-repo-commit": commit })
          .end(JSON.stringify({ id, sha: commit, private: repository.private ?? false, gated: repository.gated ?? false, siblings: [...repository.files.keys()].map((rfilename) => ({ rfilename })) }))
        return
      }
      const entries = [...repository.files].map(([path, bytes]) => {
        const size = repository.sizes?.get(path) ?? bytes.byteLength
        return { type: "file", path, size, oid: gitBlob(bytes), ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size, pointerSize: 134 } } : {}) }
      })
      const from = Number(searchParams.get("cursor") ?? 0)
      const link = from + PAGE < entries.length ? { link: `<${endpoint}${pathname}?recursive=true&expand=false&cursor=${from + PAGE}>; rel="next"` } : {}
      response.writeHead(200, { "content-type": "application/json", ...link }).end(JSON.stringify(entries.slice(from, from + PAGE)))
      return
    }
    const [, revision, path] = /^resolve\/([^/]+)\/(.+)$/.exec(rest ?? "") ?? []
    const commit = revision === undefined ? undefined : revisionOf(revision)
    if (commit === undefined) return refuse(response, 404, "RevisionNotFound")
    if (repository.gated && !known) return refuse(response, 403, "GatedRepo")
    const bytes = repository.files.get(path!)
    if (bytes === undefined) return refuse(response, 404, "EntryNotFound")
    if (!isLarge(path!)) {
      const headers = { "x-repo-commit": commit, etag: `"${gitBlob(bytes)}"` }
      if (method === "HEAD") response.writeHead(200, { ...headers, "content-length": bytes.byteLength }).end()
      else sendBytes(response, bytes, range, headers)
      return
    }
    const sum = sha256(bytes)
    contents.set(sum, bytes)
    const size = repository.sizes?.get(path!) ?? bytes.byteLength
    sizes.set(sum, size)
    response.writeHead(302, {
      location: `${cdnAddress}/${sum}?epoch=${epoch}&signature=secret`, "x-repo-commit": commit, "x-linked-etag": `"${sum}"`, "x-linked-size": String(size)
    }).end()
  }
  const hub: FakeHub = {
    endpoint,
    asked,
    repositories,
    spoil: undefined,
    expire: () => { epoch++ },
    forget: () => { contents.clear() },
    close: async () => {
      for (const s of [server, cdn]) {
        s.closeAllConnections()
        await new Promise((resolve) => s.close(resolve))
      }
    }
  }
  return hub
}
