/**
 * Buckets of S3, and of what speaks its language, as a store: `s3://bucket/prefix`. Signing, credentials and endpoints are the business of
 * AWS's own client, which is installed by whoever needs it; what it answers is checked as all answers are.
 */
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput, S3Client } from "@aws-sdk/client-s3"
import type { Readable } from "node:stream"
import { IoError } from "../../errors.ts"
import type { Store, StoredFile, StoredInfo } from "../../store/Store.ts"
import { type HttpAnswer, type Client, received } from "../http/Client.ts"
import { PinnedObject } from "../http/PinnedObject.ts"
import type { Ask } from "../http/range.ts"
import { canonical } from "../place.ts"
import { RangedFile } from "../RangedFile.ts"
import type { AwsClient } from "./awsClient.ts"
import { failure, placeOf } from "./place.ts"

const MOST_NAMES = 200_000

const answerOf = ({ $metadata, Body, ContentEncoding, ContentLength, ContentRange, ETag }: GetObjectCommandOutput): HttpAnswer => {
  const headers: Readonly<Record<string, string | undefined>> = {
    "content-range": ContentRange, "content-length": ContentLength?.toString(), etag: ETag, "content-encoding": ContentEncoding
  }
  const body = Body as unknown as Readable
  body.on("error", () => {})
  return {
    url: new URL("s3://object"),
    status: $metadata.httpStatusCode ?? 0,
    header: (name) => headers[name],
    receive: (take) => received(body, take),
    drop: async () => { body.destroy() }
  }
}

export class S3Store implements Store {
  readonly #client: Client
  readonly #aws: () => Promise<AwsClient>
  readonly #objects = new Map<string, PinnedObject>()

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

  #object(path: string): PinnedObject {
    const key = canonical(path)
    const known = this.#objects.get(key) ?? new PinnedObject(this.#client, path, this.#asking(path))
    this.#objects.set(key, known)
    return known
  }

  /** Every range says which version it wants, once one has been seen. */
  #asking(path: string): Ask {
    const { bucket, key } = placeOf(path)
    return async (range, _, signal) => {
      const { commands, s3 } = await this.#aws()
      const etag = this.#objects.get(canonical(path))?.etag
      this.#client.traffic.requests++
      try {
        return answerOf(await s3.send(new commands.GetObjectCommand({ Bucket: bucket, Key: key, Range: range, ...(etag === undefined ? {} : { IfMatch: etag }) }), { abortSignal: signal }))
      } catch (error) {
        throw failure(path, error)
      }
    }
  }

  /** Names directly below a prefix; at most `most` of them. */
  async #names(path: string, most: number): Promise<ReadonlyArray<string>> {
    const { bucket, key } = placeOf(path)
    const prefix = key === "" ? "" : `${key}/`
    const names = new Set<string>()
    let from: string | undefined
    do {
      const page: ListObjectsV2CommandOutput = await this.#call(path, (s3, { ListObjectsV2Command }) =>
        s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, Delimiter: "/", MaxKeys: Math.min(1000, most), ...(from === undefined ? {} : { ContinuationToken: from }) })))
      for (const { Key = "" } of page.Contents ?? []) if (Key.length > prefix.length) names.add(Key.slice(prefix.length))
      for (const { Prefix = "" } of page.CommonPrefixes ?? []) names.add(Prefix.slice(prefix.length).replace(/\/$/, ""))
      from = page.IsTruncated ? page.NextContinuationToken : undefined
      if (names.size > MOST_NAMES) throw new IoError({ path, operation: "list", errno: "E2BIG", detail: `more than ${MOST_NAMES} names` })
    } while (from !== undefined && names.size < most)
    return [...names].filter((name) => name !== "." && name !== ".." && name !== "").sort()
  }

  async list(path: string): Promise<ReadonlyArray<string>> {
    const names = await this.#names(path, Infinity)
    if (names.length > 0) return names
    throw new IoError({ path, operation: "list", errno: await this.#isFile(path) ? "ENOTDIR" : "ENOENT" })
  }

  async #isFile(path: string): Promise<boolean> {
    const { bucket, key } = placeOf(path)
    if (key === "") return false
    return this.#call(path, (s3, { HeadObjectCommand }) => s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))).then(() => true, (error: unknown) => {
      if (error instanceof IoError && error.errno === "ENOENT") return false
      throw error
    })
  }

  async stat(path: string): Promise<StoredInfo> {
    const known = this.#object(path)
    if (known.info() !== undefined || await this.#isFile(path)) {
      await known.check()
      return new RangedFile(path, known).info()
    }
    this.#objects.delete(canonical(path))
    if ((await this.#names(path, 1)).length === 0) throw new IoError({ path, operation: "stat", errno: "ENOENT" })
    return { kind: "directory", size: 0, identity: canonical(path), stamp: canonical(path) }
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
    if ((await this.stat(path)).kind !== "file") throw new IoError({ path, operation: "open", errno: "EISDIR" })
    return new RangedFile(path, this.#object(path))
  }
}
