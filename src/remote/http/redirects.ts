/** Where an answer may lead. */
import { IoError, quote } from "../../errors.ts"

const PRIVATE = /^(localhost|.*\.localhost|127\.[\d.]+|10\.[\d.]+|192\.168\.[\d.]+|169\.254\.[\d.]+|172\.(1[6-9]|2\d|3[01])\.[\d.]+|0\.0\.0\.0|\[::1?\]|\[f[cd][\da-f]{2}:.*\]|\[fe[89ab][\da-f]:.*\]|\[::ffff:.*\])$/i

const isPrivate = ({ hostname }: URL): boolean => PRIVATE.test(hostname)

/**
 * The address that `location` names, seen from `from`: never another protocol than before (but from http up to https), never from the
 * outside into a private network.
 *
 * @throws IoError `EREDIRECT`
 */
export const redirected = (path: string, from: URL, location: string | undefined): URL => {
  const refuse = (problem: string): never => {
    throw new IoError({ path, operation: "read", errno: "EREDIRECT", detail: problem })
  }
  if (location === undefined || !URL.canParse(location, from.href)) return refuse("the server redirects to no address")
  const to = new URL(location, from)
  if (to.protocol !== "https:" && !(to.protocol === "http:" && from.protocol === "http:")) refuse(`the server redirects to ${quote(to.protocol)} addresses`)
  if (isPrivate(to) && !isPrivate(from)) refuse(`the server redirects into a private network, to ${quote(to.host)}`)
  if (to.username !== "" || to.password !== "") refuse("the server redirects to an address with a password in it")
  return to
}
