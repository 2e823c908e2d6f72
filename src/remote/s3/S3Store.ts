/**
 * Buckets of S3, and of what speaks its language, as a store: `s3://bucket/prefix`. Signing, credentials and endpoints are the business of
 * AWS's own client, which is installed by whoever needs it; what it answers is checked as all answers are.
 */
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput, S3Client } from "@aws-sdk/client-s3"
import { basename, dirname } from "node:path"
import type { Readable } from "node:stream"
import { IoError } from "../../errors.ts"
import type { Store, StoredFile, StoredInfo } from "../../store/Store.ts"
import { filling, type RangeAnswer, received } from "../http/Answer.ts"
import type { Client } from "../http/Client.ts"
import { PinnedObject } from "../http/PinnedObject.ts"
import type { Ask, Pinned } from "../http/range.ts"
import { canonical } from "../place.ts"
import { RangedFile } from "../RangedFile.ts"
import type { AwsClient } from "./awsClient.ts"
import { failure, placeOf } from "./place.ts"

const MOST_NAMES = 200_000
/**
 * What a list said this many milliseconds ago still holds: a plan asks for every file several times. Bytes are never those of another object:
 * every range says which one it wants.
 */
const RECENT = 30_000

/** A file of a bucket, as a list or a question about it says. */
type BucketFile = Pinned

/** What is directly below a prefix. */
interface Listing {
  readonly files: ReadonlyMap<string, BucketFile>
  readonly folders: ReadonlySet<string>
}

const isName = (name: string): boolean => name !== "" && name !== "." && name !== ".."

const answerOf = ({ $metadata, Body, ContentEncoding, ContentLength, ContentRange, ETag }: GetObjectCommandOutput): RangeAnswer => {
  const headers: Readonly<Record<string, string | undefined>> = {
    "content-range": ContentRange, "content-length": ContentLength?.toString(), etag: ETag, "content-encoding": ContentEncoding
  }
  const body = Body as unknown as Readable
  body.on("error", () => {})
  return filling({
    url: new URL("s3://object"),
    status: $metadata.httpStatusCode ?? 0,
    header: (name) => headers[name],
    receive: (take) => received(body, take),
    drop: async () => { body.destroy() }
  })
}

export class S3Store implements Store {
  readonly #client: Client
  readonly #aws: () => Promise<AwsClient>
  readonly #objects = new Map<string, PinnedObject>()
  readonly #listings = new Map<string, { readonly at: number; readonly found: Promise<Listing> }>()
  /** Prefixes below which there was something. */
  readonly #folders = new Set<string>()

  constructor(client: Client, aws: () => Promise<AwsClient>) {
    this.#client = client
    this.#aws = aws
  }

  /** A call of the client: what it fails with as this store's errors, and again where that may help. */
  #call<A>(path: string, call: (s3: S3Client, aws: AwsClient["commands"]) => Promise<A>): Promise<A> {
    return this.#client.trying(() => this.#client.lanes.through(async () => {
      const { commands, s3 } = await this.#aws()
      this.#client.traffic.requests++
      return call(s3, commands).catch((error: unknown) => { throw failure(path, error) })
    }))
  }

  #object(path: string, found: BucketFile): PinnedObject {
    const key = canonical(path)
    const known = this.#objects.get(key)
    if (known !== undefined && known.etag === found.etag) return known
    const object = new PinnedObject(this.#client, path, this.#asking(path, found.etag), found)
    this.#objects.set(key, object)
    return object
  }

  /** Every range says which version it wants. */
  #asking(path: string, etag: string | undefined): Ask {
    const { bucket, key } = placeOf(path)
    return async (range, _, signal) => {
      const { commands, s3 } = await this.#aws()
      this.#client.traffic.requests++
      try {
        return answerOf(await s3.send(new commands.GetObjectCommand({ Bucket: bucket, Key: key, Range: range, ...(etag === undefined ? {} : { IfMatch: etag }) }), { abortSignal: signal }))
      } catch (error) {
        throw failure(path, error)
      }
    }
  }

  /** What is directly below a prefix, and what each file is; `most` names at least are enough. */
  async #below(path: string, most = Infinity): Promise<Listing> {
    const { bucket, key } = placeOf(path)
    const prefix = key === "" ? "" : `${key}/`
    const files = new Map<string, BucketFile>()
    const folders = new Set<string>()
    let from: string | undefined
    do {
      const page: ListObjectsV2CommandOutput = await this.#call(path, (s3, { ListObjectsV2Command }) =>
        s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, Delimiter: "/", MaxKeys: Math.min(1000, most), ...(from === undefined ? {} : { ContinuationToken: from }) })))
      for (const { ETag, Key = "", Size } of page.Contents ?? []) if (isName(Key.slice(prefix.length))) files.set(Key.slice(prefix.length), { size: Size, etag: ETag })
      for (const { Prefix = "" } of page.CommonPrefixes ?? []) {
        const name = Prefix.slice(prefix.length).replace(/\/$/, "")
        if (isName(name)) folders.add(name)
      }
      from = page.IsTruncated ? page.NextContinuationToken : undefined
      if (files.size + folders.size > MOST_NAMES) throw new IoError({ path, operation: "list", errno: "E2BIG", detail: `more than ${MOST_NAMES} names` })
    } while (from !== undefined && files.size + folders.size < most)
    return { files, folders }
  }

  /** The same, of a moment ago at the earliest: one list says what all files are, where each would be asked for otherwise. */
  #listing(path: string): Promise<Listing> {
    const key = canonical(path)
    const known = this.#listings.get(key)
    if (known !== undefined && performance.now() - known.at < RECENT) return known.found
    const made = { at: performance.now(), found: this.#below(path) }
    this.#listings.set(key, made)
    made.found.catch(() => this.#listings.delete(key))
    return made.found
  }

  /** What is there; undefined: nothing. */
  async #look(path: string): Promise<BucketFile | "directory" | undefined> {
    const { key } = placeOf(path)
    const parent = dirname(canonical(path))
    if (key !== "" && this.#folders.has(parent)) {
      const { files, folders } = await this.#listing(parent)
      const name = basename(key)
      return files.get(name) ?? (folders.has(name) ? this.#isFolder(path) : undefined)
    }
    if (this.#folders.has(canonical(path))) {
      const { files, folders } = await this.#listing(path)
      if (files.size + folders.size > 0) return "directory"
    }
    const head = await this.#head(path)
    if (head !== undefined) return head
    const { files, folders } = await this.#below(path, 1)
    return files.size + folders.size > 0 ? this.#isFolder(path) : undefined
  }

  #isFolder(path: string): "directory" {
    this.#folders.add(canonical(path))
    return "directory"
  }

  async list(path: string): Promise<ReadonlyArray<string>> {
    const { files, folders } = await this.#listing(path)
    const names = [...new Set([...files.keys(), ...folders])].sort()
    if (names.length > 0) {
      this.#isFolder(path)
      return names
    }
    throw new IoError({ path, operation: "list", errno: await this.#head(path) !== undefined ? "ENOTDIR" : "ENOENT" })
  }

  async #head(path: string): Promise<BucketFile | undefined> {
    const { bucket, key } = placeOf(path)
    if (key === "") return undefined
    return this.#call(path, (s3, { HeadObjectCommand }) => s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))).then(
      ({ ContentLength, ETag }) => ({ size: ContentLength, etag: ETag }),
      (error: unknown) => {
        if (error instanceof IoError && error.errno === "ENOENT") return undefined
        throw error
      }
    )
  }

  async stat(path: string): Promise<StoredInfo> {
    const found = await this.#look(path)
    if (found === undefined) throw new IoError({ path, operation: "stat", errno: "ENOENT" })
    if (found === "directory") return { kind: "directory", size: 0, identity: canonical(path), stamp: canonical(path) }
    return new RangedFile(path, this.#object(path, found)).info()
  }

  lstat(path: string): Promise<StoredInfo> {
    return this.stat(path)
  }

  async realpath(path: string): Promise<string> {
    await this.stat(path)
    return canonical(path)
  }

  async open(path: string, _mode: "read", { direct = false }: { readonly direct?: boolean } = {}): Promise<StoredFile> {
    if (direct) throw new IoError({ path, operation: "open", errno: "EINVAL" })
    const found = await this.#look(path)
    if (found === undefined || found === "directory") throw new IoError({ path, operation: "open", errno: found === undefined ? "ENOENT" : "EISDIR" })
    return new RangedFile(path, this.#object(path, found))
  }
}
