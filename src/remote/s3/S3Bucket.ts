/**
 * What is written below a prefix of a bucket. Objects come into being whole: large ones as multipart uploads, of which nothing is to be
 * seen before they are completed. Nothing replaces an object that somebody else has put there: S3 is asked to refuse that (`If-None-Match`).
 * Every object carries the name of the run that made it, so that an answer which got lost on its way can be found out.
 */
import type { CompletedPart, ListMultipartUploadsCommandOutput, ListObjectsV2CommandOutput, ListPartsCommandOutput, S3Client } from "@aws-sdk/client-s3"
import { IoError } from "../../errors.ts"
import { isMissing } from "../../store/present.ts"
import type { Client } from "../http/Client.ts"
import { canonical } from "../place.ts"
import type { AwsClient } from "./awsClient.ts"
import { failure, placeOf, type S3Place } from "./place.ts"

export interface BucketObject {
  readonly size: number
  readonly etag: string
}

export interface UploadedPart {
  /** From 1. */
  readonly number: number
  readonly size: number
  readonly etag: string
  readonly crc32: number
}

/** An upload that was begun, and neither completed nor aborted. */
export interface BegunUpload {
  /** Relative to the prefix. */
  readonly name: string
  readonly id: string
  /** ISO 8601; undefined where the store does not say. */
  readonly since: string | undefined
}

/** The name of the run, among an object's metadata. */
const RUN = "megatron-mimo-run"
const MOST_OBJECTS = 200_000

/** As S3 has it in headers. */
const crcHeader = (crc: number): string => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString("base64")
}

export class S3Bucket {
  readonly #client: Client
  readonly #aws: () => Promise<AwsClient>
  readonly #place: S3Place
  readonly #path: string

  /** IoError `place/s3` for a path that names no bucket. */
  constructor(client: Client, aws: () => Promise<AwsClient>, path: string) {
    this.#client = client
    this.#aws = aws
    this.#path = canonical(path)
    this.#place = placeOf(path)
  }

  /**
   * These objects are there now: end uploads of theirs that are left. Nobody may know their ids, as the answer to their beginning was lost;
   * whoever else uploads one of these is refused anyway. Never fails.
   */
  async endLeft(names: ReadonlySet<string>): Promise<void> {
    const found = await this.unfinished().catch(() => [])
    for (const { id, name } of found) if (names.has(name)) await this.abort(name, id).catch(() => {})
  }

  /** For messages. */
  pathOf(name: string): string {
    return `${this.#path.replace(/^s3:\//, "s3://")}/${name}`
  }

  #key(name: string): { readonly Bucket: string; readonly Key: string } {
    const { bucket, key } = this.#place
    return { Bucket: bucket, Key: key === "" ? name : `${key}/${name}` }
  }

  get #prefix(): string {
    return this.#place.key === "" ? "" : `${this.#place.key}/`
  }

  #call<A>(name: string, call: (s3: S3Client, aws: AwsClient["commands"], sums: boolean) => Promise<A>): Promise<A> {
    return this.#client.trying(() => this.#client.lanes.through(async () => {
      const { commands, s3, sums } = await this.#aws()
      this.#client.traffic.requests++
      return call(s3, commands, sums).catch((error: unknown) => { throw failure(this.pathOf(name), error, "write") })
    }))
  }

  /** Everything below the prefix, by name. */
  async objects(): Promise<ReadonlyMap<string, BucketObject>> {
    const found = new Map<string, BucketObject>()
    let from: string | undefined
    do {
      const page: ListObjectsV2CommandOutput = await this.#call("", (s3, { ListObjectsV2Command }) =>
        s3.send(new ListObjectsV2Command({ Bucket: this.#place.bucket, Prefix: this.#prefix, ...(from === undefined ? {} : { ContinuationToken: from }) })))
      for (const { ETag = "", Key = "", Size = 0 } of page.Contents ?? []) if (Key.length > this.#prefix.length) found.set(Key.slice(this.#prefix.length), { size: Size, etag: ETag })
      from = page.IsTruncated ? page.NextContinuationToken : undefined
      if (found.size > MOST_OBJECTS) throw new IoError({ path: this.pathOf(""), operation: "list", errno: "E2BIG", detail: `more than ${MOST_OBJECTS} objects` })
    } while (from !== undefined)
    return found
  }

  /** Who made an object, and its tag; undefined if there is none. */
  async maker(name: string): Promise<{ readonly run: string | undefined; readonly etag: string } | undefined> {
    return this.#call(name, (s3, { HeadObjectCommand }) => s3.send(new HeadObjectCommand(this.#key(name)))).then(
      ({ ETag = "", Metadata }) => ({ run: Metadata?.[RUN], etag: ETag }),
      (error: unknown) => {
        if (isMissing(error)) return undefined
        throw error
      }
    )
  }

  /** The tag of an object that this run has made, although no answer said so. */
  async #made(name: string, run: string, error: unknown): Promise<string> {
    if (error instanceof IoError && (error.errno === "ENOENT" || error.errno === "EEXIST")) {
      const found = await this.maker(name)
      if (found?.run === run) return found.etag
    }
    throw error
  }

  /** Begin an upload. Its id. */
  async begin(name: string, run: string): Promise<string> {
    const { UploadId } = await this.#call(name, (s3, { CreateMultipartUploadCommand }, sums) =>
      s3.send(new CreateMultipartUploadCommand({ ...this.#key(name), Metadata: { [RUN]: run }, ...(sums ? { ChecksumAlgorithm: "CRC32" } : {}) })))
    if (UploadId === undefined) throw new IoError({ path: this.pathOf(name), operation: "write", errno: "EPROTO", detail: "the server names no upload" })
    return UploadId
  }

  /** Send a part; S3 holds it against its CRC-32. Its tag. */
  async send(name: string, id: string, number: number, bytes: Uint8Array, crc32: number): Promise<string> {
    const { ETag } = await this.#call(name, (s3, { UploadPartCommand }, sums) =>
      s3.send(new UploadPartCommand({ ...this.#key(name), UploadId: id, PartNumber: number, Body: bytes, ContentLength: bytes.byteLength, ...(sums ? { ChecksumCRC32: crcHeader(crc32) } : {}) })))
    if (ETag === undefined) throw new IoError({ path: this.pathOf(name), operation: "write", errno: "EPROTO", detail: "the server gives a part no tag" })
    this.#client.traffic.sent += bytes.byteLength
    return ETag
  }

  /** The parts that an unfinished upload has, by number; undefined if there is no such upload any more. */
  async parts(name: string, id: string): Promise<ReadonlyMap<number, { readonly size: number; readonly etag: string }> | undefined> {
    const found = new Map<number, { readonly size: number; readonly etag: string }>()
    let from: string | undefined
    do {
      const page: ListPartsCommandOutput | undefined = await this.#call(name, (s3, { ListPartsCommand }) =>
        s3.send(new ListPartsCommand({ ...this.#key(name), UploadId: id, ...(from === undefined ? {} : { PartNumberMarker: from }) }))).catch((error: unknown) => {
        if (isMissing(error)) return undefined
        throw error
      })
      if (page === undefined) return undefined
      for (const { ETag, PartNumber, Size } of page.Parts ?? []) if (PartNumber !== undefined && ETag !== undefined) found.set(PartNumber, { size: Size ?? 0, etag: ETag })
      from = page.IsTruncated ? page.NextPartNumberMarker : undefined
    } while (from !== undefined)
    return found
  }

  /** Make an object of an upload. Its tag. IoError `EEXIST` if another one is there. */
  async complete(name: string, id: string, run: string, parts: ReadonlyArray<UploadedPart>): Promise<string> {
    return this.#call(name, async (s3, { CompleteMultipartUploadCommand }, sums) => {
      const Parts = parts.map(({ crc32, etag, number }): CompletedPart => ({ PartNumber: number, ETag: etag, ...(sums ? { ChecksumCRC32: crcHeader(crc32) } : {}) }))
      const { ETag = "" } = await s3.send(new CompleteMultipartUploadCommand({ ...this.#key(name), UploadId: id, IfNoneMatch: "*", MultipartUpload: { Parts } }))
      return ETag
    }).catch((error: unknown) => this.#made(name, run, error))
  }

  /** Write a small object. Its tag. IoError `EEXIST` if another one is there. */
  async put(name: string, bytes: Uint8Array, crc32: number, run: string): Promise<string> {
    return this.#call(name, async (s3, { PutObjectCommand }, sums) => {
      const sum = sums ? { ChecksumCRC32: crcHeader(crc32) } : {}
      const { ETag = "" } = await s3.send(new PutObjectCommand({ ...this.#key(name), Body: bytes, ContentLength: bytes.byteLength, IfNoneMatch: "*", Metadata: { [RUN]: run }, ...sum }))
      this.#client.traffic.sent += bytes.byteLength
      return ETag
    }).catch((error: unknown) => this.#made(name, run, error))
  }

  /** Remove an object, if it is still this one. */
  async remove(name: string, etag: string): Promise<void> {
    await this.#call(name, (s3, { DeleteObjectCommand }) => s3.send(new DeleteObjectCommand({ ...this.#key(name), IfMatch: etag }))).catch((error: unknown) => {
      if (!isMissing(error)) throw error
    })
  }

  /** Uploads below the prefix that were begun, by anybody. */
  async unfinished(): Promise<ReadonlyArray<BegunUpload>> {
    const found: Array<BegunUpload> = []
    let from: { readonly KeyMarker: string | undefined; readonly UploadIdMarker: string | undefined } | undefined
    do {
      const page: ListMultipartUploadsCommandOutput = await this.#call("", (s3, { ListMultipartUploadsCommand }) =>
        s3.send(new ListMultipartUploadsCommand({ Bucket: this.#place.bucket, Prefix: this.#prefix, ...from })))
      for (const { Initiated, Key = "", UploadId } of page.Uploads ?? []) {
        if (UploadId !== undefined && Key.startsWith(this.#prefix)) found.push({ name: Key.slice(this.#prefix.length), id: UploadId, since: Initiated?.toISOString() })
      }
      from = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
    } while (from !== undefined && found.length < MOST_OBJECTS)
    return found
  }

  /** Remove an upload and what it has; nothing happens if it is gone. */
  async abort(name: string, id: string): Promise<void> {
    await this.#call(name, (s3, { AbortMultipartUploadCommand }) => s3.send(new AbortMultipartUploadCommand({ ...this.#key(name), UploadId: id }))).catch((error: unknown) => {
      if (!isMissing(error)) throw error
    })
  }
}
