/**
 * Families in files of the user's. Such a file is a module: loading it runs its code, with all the rights of this process. Nothing
 * else in this program runs code that it is given.
 */
import { Effect } from "effect"
import { createRequire } from "node:module"
import { resolve } from "node:path"
import { isSea } from "node:sea"
import { pathToFileURL } from "node:url"
import { families as builtIn } from "../../routes/index.ts"
import type { Component } from "../bridge/Component.ts"
import type { Family } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type InvalidFile, type IoError, type NoSpace, type PlanRefused, quote, type Unsupported, type UsageError } from "../errors.ts"
import { opening, planning } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { existing } from "../store/existing.ts"
import { validateRouteTable } from "../mimo/routes.ts"
import { guarded, guardedFamily, badFamily, said } from "./guardedFamily.ts"

type Fields = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null
const isText = (value: unknown): value is string => typeof value === "string" && value.length > 0 && value.length <= 200

/** What an object lacks to be a family; undefined: nothing. */
const lacking = (value: Fields): string | undefined => {
  if (!isText(value["name"])) return "name"
  const architectures = value["architectures"]
  if (!Array.isArray(architectures) || architectures.length === 0 || !architectures.every(isText)) return "architectures"
  if (!isObject(value["schema"]) || typeof value["schema"]["safeParse"] !== "function") return "schema"
  return typeof value["describe"] === "function" ? undefined : "describe"
}

/** Routes by architecture: the components themselves, or what gives them for a config. */
type MimoRoutes = ReadonlyMap<string, (config: unknown) => ReadonlyArray<Component>>

const isRoute = (value: unknown): boolean => isObject(value) && isText(value["sourcePrefix"]) && isText(value["targetModulePath"])
const isComponent = (value: unknown): value is Component => {
  if (!isObject(value) || !isText(value["name"]) || !isRoute(value)) return false
  const also = value["also"]
  return also === undefined || (Array.isArray(also) && also.every(isRoute))
}

const routesOf = (path: string, exported: unknown): MimoRoutes => {
  if (exported === undefined) return new Map()
  const malformed = (what: string) => badFamily(path, "not-a-family", `mimoRoutes: ${what}`, "mimoRoutes = { \"Architecture\": [{ name, sourcePrefix, targetModulePath }, …] }, or a function of config.json that gives such a list.")
  if (!isObject(exported) || Array.isArray(exported)) throw malformed("an object by architecture is expected")
  const checked = (architecture: string, components: unknown): ReadonlyArray<Component> => {
    if (!Array.isArray(components) || !components.every(isComponent)) throw malformed(`the components of ${quote(architecture)} are none`)
    validateRouteTable(components)
    return components
  }
  return new Map(Object.entries(exported).map(([architecture, given]) => {
    if (typeof given !== "function") {
      const components = checked(architecture, given)
      return [architecture, () => components]
    }
    return [architecture, (config: unknown) => checked(architecture, guarded(path, architecture, () => (given as (config: unknown) => unknown)(config)))]
  }))
}

export type FamilyFileError = InvalidFile | IoError | NoSpace | PlanRefused | Unsupported | UsageError

interface FamilyFile {
  readonly path: string
  readonly families: ReadonlyArray<Family>
  readonly routes: MimoRoutes
}

const familiesIn = (path: string, module: Fields): FamilyFile => {
  const exported = new Map(Object.entries(module).flatMap(([name, value]) => (Array.isArray(value) ? value.map((one, i) => [`${name}[${i}]`, one] as const) : [[name, value] as const])))
  // What has architectures is meant as one; other exports are the file's own affair.
  const meant = new Map([...exported].flatMap(([name, value]) => (isObject(value) && "architectures" in value ? [[value, name] as const] : [])))
  for (const [value, name] of meant) {
    const field = lacking(value)
    if (field !== undefined) throw badFamily(path, "not-a-family", `the export ${quote(name)} has no ${field}, as a family has`)
  }
  const routes = routesOf(path, module["mimoRoutes"])
  if (meant.size === 0 && routes.size === 0) throw badFamily(path, "no-family", "the module exports no family")
  return { path, families: [...meant.keys()].map((value) => guardedFamily(path, value as unknown as Family)), routes }
}

/** The module in a file. A program in one file has no loader for others; `require` reads modules as well. */
const moduleIn = (file: string): Promise<Fields> =>
  isSea() ? Promise.resolve(createRequire(file)(file) as Fields) : import(/* @vite-ignore */ pathToFileURL(file).href) as Promise<Fields>

const load = async (path: string): Promise<FamilyFile> => {
  const module = await moduleIn(resolve(path)).catch((error: unknown) => {
    throw badFamily(path, "not-loaded", `it cannot be loaded: ${said(error)}`)
  })
  return familiesIn(path, module)
}

/**
 * The registry with the families of these files, which win over those that answer to the same architectures, and with their MIMO
 * routes. **This runs the code of the files.**
 *
 * @throws InvalidFile `family/…` for a file that is no family file; IoError, InvalidFile `file/…` for one that is not there; PlanRefused
 * `mimo/route-table` and Unsupported `unsupported/architecture` for its routes
 */
export const withFamilyFiles = (paths: ReadonlyArray<string>, families: FamilyRegistry = builtIn): Effect.Effect<FamilyRegistry, FamilyFileError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    let registry = families
    const claims = new Map<string, string>()
    for (const path of paths) {
      const file = yield* opening(async () => {
        const found = await existing(disk, path)
        if (found.kind !== "file") throw badFamily(path, "not-loaded", "it is not a file")
        return await load(path)
      })
      registry = yield* planning(() => added(registry, file, claims))
    }
    return registry
  })

const added = (registry: FamilyRegistry, { families, path, routes }: FamilyFile, claims: Map<string, string>): FamilyRegistry => {
  for (const architecture of families.flatMap((f) => f.architectures)) {
    const other = claims.get(architecture)
    if (other !== undefined) throw badFamily(path, "claimed", `${quote(architecture)} has a family already, of ${other}`, "Name one file for each architecture.")
    claims.set(architecture, path)
  }
  const described = families.reduce((all, family) => all.replacing(family), registry)
  return [...routes].reduce((all, [architecture, components]) => all.withMimoRoutes(architecture, components), described)
}
