/** Where something is in a bucket, and what AWS's client says when it fails. */
import { IoError } from "../../errors.ts"
import { networkFailure, Transient } from "../http/failures.ts"
import { canonical } from "../place.ts"

export interface S3Place {
  readonly bucket: string
  /** Without slashes around it. */
  readonly key: string
}

/** `s3:/bucket/key`; names of buckets as S3 allows them. */
const S3_PLACE = /^s3:\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/

/** IoError `place/s3` */
export const placeOf = (path: string): S3Place => {
  const [, bucket, key = ""] = S3_PLACE.exec(canonical(path)) ?? []
  if (bucket !== undefined) return { bucket, key }
  throw new IoError({ path, operation: "open", code: "place/s3", errno: "EINVAL", detail: "names no bucket", hint: "s3://bucket/prefix does." })
}

/** What S3 may also say beside, or in, an answer of 200 or 400. */
const AGAIN: ReadonlySet<string> = new Set(["BadDigest", "InternalError", "RequestTimeout", "IncompleteBody", "ServiceUnavailable", "SlowDown"])

/** Errors of the client by their names; the statuses of the rest are those of HTTP. */
export const failure = (path: string, error: unknown, operation: "read" | "write" = "read"): unknown => {
  const { $metadata, message, name } = error as { readonly name?: string; readonly message?: string; readonly $metadata?: { readonly httpStatusCode?: number } }
  const say = (errno: string, detail: string, hint?: string) => new IoError({ path, operation, errno, detail, ...(hint === undefined ? {} : { hint }) })
  const status = $metadata?.httpStatusCode
  if (name === "NoSuchBucket") return say("ENOENT", "there is no such bucket")
  if (name === "NoSuchUpload") return say("ENOENT", "the unfinished upload is gone: somebody has aborted it")
  if (name === "NoSuchKey" || name === "NotFound" || status === 404) return say("ENOENT", "there is no such object")
  if (name === "PreconditionFailed" || status === 412) return operation === "write" ? say("EEXIST", "another one is there (412)") : say("ESTALE", "it was replaced (412)")
  if (status === 416) return say("ESTALE", "it is shorter than it was (416)")
  if (name === "CredentialsProviderError") return say("EACCES", "no credentials were found", "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give them.")
  if (status === 401 || status === 403) return say("EACCES", `the server answers ${status} (${name ?? "no name"})`)
  if (status !== undefined && (status >= 500 || status === 408 || status === 429)) return new Transient(say("EHTTP", `the server answers ${status} (${name ?? message ?? ""})`))
  // Two writers of one name at the same moment: S3 asks to try again. A part that came otherwise than it was sent is sent again.
  if (status === 409 || AGAIN.has(name ?? "")) return new Transient(say("EHTTP", `the server answers ${status} (${name ?? ""})`))
  // An answer that is not what the client understands.
  if (status !== undefined && status >= 300) return say("EPROTO", `the server answers ${status} (${name ?? ""})`)
  if (name === "TimeoutError" || name === "AbortError") return new Transient(say("ETIMEDOUT", "the server does not answer in time"))
  if (status !== undefined) return say("EPROTO", `the server's answer is not understood (${name ?? ""})`)
  return networkFailure(path, error, true, operation)
}
