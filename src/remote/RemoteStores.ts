/** The drivers of what is not on this machine, by the scheme of a path. */
import { IoError } from "../errors.ts"
import type { DiskCalls } from "../io/Disk.ts"
import type { Store } from "../store/Store.ts"
import { downloadTimeout, type RemoteEnvironment, hubCacheDirectory, hubEndpoint, hubTokenFile, sendsToken, usesXet } from "./environment.ts"
import { Client } from "./http/Client.ts"
import { HttpStore } from "./http/HttpStore.ts"
import { HubCache } from "./hub/HubCache.ts"
import { HubClient } from "./hub/HubClient.ts"
import { HubStore } from "./hub/HubStore.ts"
import type { HubUpload, HubUploadOptions } from "./hub/HubUpload.ts"
import { schemeOf } from "./place.ts"
import { type AwsClient, awsClient } from "./s3/awsClient.ts"
import { S3Bucket } from "./s3/S3Bucket.ts"
import { S3Store } from "./s3/S3Store.ts"
import type { RemoteOptions } from "./RemoteOptions.ts"

export interface RemoteStores {
  /** The driver of a remote path. IoError for an address of the Hub that is none. */
  readonly of: (path: string) => Promise<Store>
  readonly client: Client
  readonly hub: () => Promise<HubStore>
  /** A repository as a target, looked at. As {@link HubUpload.prepare}. */
  readonly upload: (path: string, options: HubUploadOptions, overwrite: boolean) => Promise<HubUpload>
  readonly s3: {
    /** What is written below a prefix. IoError `place/s3` */
    readonly bucket: (path: string) => S3Bucket
  }
}

const LARGEST_TOKEN = 1024
/** What a header can carry. */
const TOKEN = /^[\x21-\x7e]{1,1024}$/

/** `HF_TOKEN`, else what `hf auth login` has written. */
const tokenOf = async (disk: DiskCalls, env: RemoteEnvironment): Promise<string | undefined> => {
  if (!sendsToken(env)) return undefined
  const given = env["HF_TOKEN"]?.trim()
  if (given) return TOKEN.test(given) ? given : undefined
  const file = await disk.open(hubTokenFile(env), "read").catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const bytes = Buffer.alloc(LARGEST_TOKEN)
    const token = bytes.toString("latin1", 0, await file.read(bytes, 0)).trim()
    return TOKEN.test(token) ? token : undefined
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}

/** One client, and so one limit of requests, for all drivers. */
export const remoteStores = (disk: DiskCalls, { cache = false, patience, timeout }: RemoteOptions, env: RemoteEnvironment = process.env): RemoteStores => {
  const client = new Client({ timeout: timeout ?? downloadTimeout(env), ...(patience === undefined ? {} : { patience }) })
  const http = new HttpStore(client)
  let aws: Promise<AwsClient> | undefined
  const signed = () => aws ??= awsClient(timeout ?? downloadTimeout(env), env)
  const s3 = new S3Store(client, signed)
  let asking: Promise<{ readonly hub: HubClient; readonly endpoint: URL; readonly token: string | undefined }> | undefined
  const asked = () => asking ??= (async () => {
    const endpoint = hubEndpoint(env)
    if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : "")) {
      throw new IoError({ path: endpoint, operation: "open", code: "hub/endpoint", errno: "EINVAL", detail: "HF_ENDPOINT is no address" })
    }
    const token = await tokenOf(disk, env)
    return { hub: new HubClient(client, new URL(endpoint), token), endpoint: new URL(endpoint), token }
  })()
  let hub: Promise<HubStore> | undefined
  const hubStore = (): Promise<HubStore> => hub ??= asked().then((own) => new HubStore(client, own.hub, new HubCache(disk, hubCacheDirectory(env), cache)))
  return {
    client,
    hub: hubStore,
    upload: async (path, options, overwrite) => {
      const { HubUpload } = await import("./hub/HubUpload.ts")
      return HubUpload.prepare({ client, ...await asked(), xet: usesXet(env) }, path, options, overwrite)
    },
    s3: { bucket: (path) => new S3Bucket(client, signed, path) },
    of: async (path) => {
      switch (schemeOf(path)) {
        case "hf": return hubStore()
        case "s3": return s3
        case "https":
        case "http": return http
        default: throw new IoError({ path, operation: "open", code: "place/unknown", errno: "EINVAL", detail: "is a kind of place that is not known here" })
      }
    }
  }
}
