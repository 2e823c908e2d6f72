/** A weight server as text. */
import type { Listening, ServeReport } from "../api/serve.ts"
import { bytes, plural } from "./text.ts"

export const renderListening = ({ bytes: size, tensors, url }: Listening): string => `serving ${plural(tensors, "tensor")}, ${bytes(size)}, at ${url}`

export const renderServed = ({ broken, bytesRead, bytesSent, complete, denied }: ServeReport): string =>
  [
    `${plural(complete, "consumer")} got everything: ${bytes(bytesSent)} sent, ${bytes(bytesRead)} read`,
    ...(broken > 0 ? [`${plural(broken, "connection")} ended before`] : []),
    ...(denied > 0 ? [`${plural(denied, "connection")} had no token, or another`] : [])
  ].join("\n")
