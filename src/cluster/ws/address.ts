/** On which of its addresses rank 0 listens, where nobody said: never on all of them. */
import { lookup } from "node:dns/promises"
import { networkInterfaces } from "node:os"
import type { Launch } from "../launch.ts"

const LOOPBACK = "127.0.0.1"

/** Of this host, IPv4 first; those that only this host sees are left out. */
const outward = (): ReadonlyArray<string> =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ address, internal }) => !internal && !address.startsWith("fe80:"))
    .sort((a, b) => Number(a.family === "IPv6") - Number(b.family === "IPv6"))
    .map(({ address }) => address)

/** The address that the launcher's name of rank 0's host has here (but a host may call itself 127.0.1.1), else the first outward one. */
export const ownAddress = async ({ localSize, master, worldSize }: Launch): Promise<string> => {
  if (localSize === worldSize) return LOOPBACK
  const own = outward()
  const named = master === undefined ? [] : await lookup(master, { all: true }).catch(() => [])
  return named.find(({ address }) => own.includes(address))?.address ?? own[0] ?? LOOPBACK
}
