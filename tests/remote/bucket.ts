/**
 * A bucket of tests: the emulator, behind a proxy that adds what it lacks. Conditional writes (`If-None-Match`, and `If-Match` of a
 * removal), parts and objects that are refused where they are not what their CRC-32 says, lists of unfinished uploads and of their parts.
 */
import { crc32 } from "node:zlib"
import { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3"
import { startFauxqs } from "fauxqs"
import { type Addition, type Returned, type SpoilingProxy, startProxy } from "./spoiling.ts"

export interface FakeBucket {
  readonly proxy: SpoilingProxy
  readonly name: string
  /** Objects below a prefix, by name. */
  readonly tree: (prefix: string) => Promise<ReadonlyMap<string, Buffer>>
  readonly clear: (prefix: string) => Promise<void>
  /** Past the proxy. */
  readonly s3: S3Client
  /** Keys of unfinished uploads. */
  readonly unfinished: () => ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly close: () => Promise<void>
}

interface Upload {
  readonly key: string
  readonly parts: Map<number, { readonly etag: string; readonly size: number }>
}

const xml = (status: number, body: string): Returned => {
  const bytes = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`)
  return { status, headers: { "content-type": "application/xml", "content-length": String(bytes.byteLength) }, body: bytes }
}

const error = (status: number, code: string): Returned => xml(status, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`)

const withWrites = (uploads: Map<string, Upload>): Addition => async (passed, onwards) => {
  const { body, headers, method, url } = passed
  const { pathname, searchParams: query } = new URL(url, "http://bucket")
  const [, bucket, ...rest] = decodeURIComponent(pathname).split("/")
  const key = rest.join("/")
  const id = query.get("uploadId") ?? ""
  if (method === "GET" && query.has("uploads")) {
    const prefix = query.get("prefix") ?? ""
    const own = [...uploads].filter(([, upload]) => upload.key.startsWith(prefix))
    return xml(200, `<ListMultipartUploadsResult><Bucket>${bucket}</Bucket><IsTruncated>false</IsTruncated>${own.map(([name, upload]) => `<Upload><Key>${upload.key}</Key><UploadId>${name}</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>`).join("")}</ListMultipartUploadsResult>`)
  }
  if (method === "GET" && id !== "") {
    const upload = uploads.get(id)
    if (upload === undefined) return error(404, "NoSuchUpload")
    return xml(200, `<ListPartsResult><IsTruncated>false</IsTruncated>${[...upload.parts].map(([number, { etag, size }]) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', "&quot;")}</ETag><Size>${size}</Size></Part>`).join("")}</ListPartsResult>`)
  }
  const sum = headers["x-amz-checksum-crc32"]
  if (sum !== undefined && method === "PUT") {
    const own = Buffer.alloc(4)
    own.writeUInt32BE(crc32(body))
    if (own.toString("base64") !== sum) return error(400, "BadDigest")
  }
  if (headers["if-none-match"] === "*" || headers["if-match"] !== undefined && method === "DELETE") {
    const there = await onwards({ method: "HEAD", url: pathname, headers: { host: headers.host }, body: Buffer.alloc(0) })
    if (headers["if-none-match"] === "*" ? there.status === 200 : there.status === 200 && there.headers.etag !== headers["if-match"]) return error(412, "PreconditionFailed")
  }
  const answer = await onwards(passed)
  if (answer.status >= 300) return answer
  if (method === "POST" && query.has("uploads")) uploads.set(/<UploadId>(.*?)<\/UploadId>/.exec(answer.body.toString())![1]!, { key, parts: new Map() })
  else if (method === "PUT" && id !== "") uploads.get(id)?.parts.set(Number(query.get("partNumber")), { etag: answer.headers.etag!, size: body.byteLength })
  else if ((method === "POST" || method === "DELETE") && id !== "") uploads.delete(id)
  return answer
}

export const startBucket = async (name: string): Promise<FakeBucket> => {
  const server = await startFauxqs({ port: 0, logger: false })
  const uploads = new Map<string, Upload>()
  const proxy = await startProxy(server.port, withWrites(uploads))
  const env = { AWS_ENDPOINT_URL_S3: proxy.endpoint, AWS_ACCESS_KEY_ID: "key-of-the-tests", AWS_SECRET_ACCESS_KEY: "secret-of-the-tests", AWS_REGION: "us-east-1" }
  const s3 = new S3Client({ endpoint: `http://127.0.0.1:${server.port}`, region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId: "k", secretAccessKey: "s" } })
  await s3.send(new CreateBucketCommand({ Bucket: name }))
  const keys = async (prefix: string): Promise<ReadonlyArray<string>> => ((await s3.send(new ListObjectsV2Command({ Bucket: name, Prefix: prefix }))).Contents ?? []).map(({ Key }) => Key!)
  return {
    proxy,
    name,
    s3,
    env,
    unfinished: () => [...uploads.values()].map(({ key }) => key),
    tree: async (prefix) => {
      const found = new Map<string, Buffer>()
      for (const key of await keys(prefix)) {
        const { Body } = await s3.send(new GetObjectCommand({ Bucket: name, Key: key }))
        found.set(key.slice(prefix.length), Buffer.from(await Body!.transformToByteArray()))
      }
      return found
    },
    clear: async (prefix) => {
      for (const [id, { key }] of uploads) if (key.startsWith(prefix)) uploads.delete(id)
      for (const key of await keys(prefix)) await s3.send(new DeleteObjectCommand({ Bucket: name, Key: key }))
    },
    close: async () => {
      s3.destroy()
      await proxy.close()
      await server.stop()
    }
  }
}
