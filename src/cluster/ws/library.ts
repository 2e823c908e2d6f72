/** The package `ws`, loaded where it is used: an optional peer, which a job of one process and `--rendezvous file` do without. */
import { LaunchError } from "../../errors.ts"

export const loadWs = async (): Promise<typeof import("ws")> => {
  try {
    return await import("ws")
  } catch {
    throw new LaunchError({ code: "launch/no-ws", problem: "the package ws is not installed, through which processes of a job speak", hint: "npm install ws, or --rendezvous file, which needs none." })
  }
}
