/** AWS's own client, if it is installed. */
import type * as Commands from "@aws-sdk/client-s3"
import { IoError } from "../../errors.ts"
import type { RemoteEnvironment } from "../environment.ts"

export interface AwsClient {
  readonly s3: Commands.S3Client
  readonly commands: Pick<typeof Commands, 
    | "AbortMultipartUploadCommand" | "CompleteMultipartUploadCommand" | "CreateMultipartUploadCommand" | "DeleteObjectCommand" | "GetObjectCommand" | "HeadObjectCommand"
    | "ListMultipartUploadsCommand" | "ListObjectsV2Command" | "ListPartsCommand" | "PutObjectCommand" | "UploadPartCommand">
  /** Sums of what is sent go with it. Stores that know none of AWS's need `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`. */
  readonly sums: boolean
}

const PACKAGE = "@aws-sdk/client-s3"

/** Endpoints of others than AWS, as the client itself reads them; buckets are parts of their paths. */
const hasOwnEndpoint = (env: RemoteEnvironment): boolean => Boolean(env["AWS_ENDPOINT_URL_S3"] || env["AWS_ENDPOINT_URL"])

/** Region, credentials and endpoint are found as in every program of AWS. IoError `place/peer` where the client is not installed. */
export const awsClient = async (timeout: number, env: RemoteEnvironment = process.env): Promise<AwsClient> => {
  const commands = await import(PACKAGE).catch((error: unknown) => {
    if ((error as { readonly code?: string }).code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new IoError({ path: "s3://", operation: "open", code: "place/peer", errno: "ENOPKG", detail: `S3 needs the package ${PACKAGE}`, hint: `npm install ${PACKAGE}` })
  }) as typeof Commands
  const s3 = new commands.S3Client({
    region: env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] || "us-east-1",
    forcePathStyle: hasOwnEndpoint(env),
    // What is tried again, and how often, is decided in one place.
    maxAttempts: 1,
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: timeout, socketTimeout: timeout, httpsAgent: { maxSockets: 128 }, httpAgent: { maxSockets: 128 } }
  })
  return { s3, commands, sums: (await s3.config.requestChecksumCalculation()) === "WHEN_SUPPORTED" }
}
