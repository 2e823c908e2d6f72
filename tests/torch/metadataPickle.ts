/** Builds `.metadata` pickles piece by piece, so that a test can get one piece wrong. */
import { Dcp } from "../../src/torch/Globals.ts"
import { PickleWriter } from "../../src/torch/PickleWriter.ts"

/** Writes one value. */
export type Write = (pickle: PickleWriter) => void
export type Attributes = ReadonlyArray<readonly [string, Write]>

export const int = (value: number | bigint): Write => (p) => void p.int(value)
export const text = (value: string): Write => (p) => void p.text(value)
export const none: Write = (p) => void p.none()
export const global = (id: string): Write => (p) => void p.global(id)
export const list = (...items: ReadonlyArray<Write>): Write => (p) => {
  p.emptyList().mark()
  for (const item of items) item(p)
  p.appends()
}
export const tuple = (...items: ReadonlyArray<Write>): Write => (p) => {
  p.mark()
  for (const item of items) item(p)
  p.tuple()
}
export const dict = (...items: ReadonlyArray<readonly [Write, Write]>): Write => (p) => {
  p.emptyDict().mark()
  for (const [key, value] of items) {
    key(p)
    value(p)
  }
  p.setItems()
}
export const call = (id: string, ...args: ReadonlyArray<Write>): Write => (p) => {
  p.global(id)
  tuple(...args)(p)
  p.reduce()
}
export const instance = (id: string, attributes: Attributes): Write => (p) => {
  p.global(id).emptyTuple().newObject()
  dict(...attributes.map(([name, value]) => [text(name), value] as const))(p)
  p.build()
}
export const size = (...sizes: ReadonlyArray<number>): Write => call("torch Size", tuple(...sizes.map(int)))

export const properties = (dtype = "torch float32", layout: Write = call(Dcp.layout, text("torch.strided"))): Write => (p) => {
  p.global(Dcp.properties[0]).emptyTuple().newObject()
  tuple(global(dtype), layout, (q) => void q.boolean(false), call(Dcp.memoryFormat[0], int(0)), (q) => void q.boolean(false))(p)
  p.build()
}
export const chunk = (offsets: Write = size(0), sizes: Write = size(4)): Write => instance(Dcp.chunk[0], [["offsets", offsets], ["sizes", sizes]])
export const tensor = (over: { properties?: Write; size?: Write; chunks?: Write } = {}): Write =>
  instance(Dcp.tensor[0], [
    ["properties", over.properties ?? properties()],
    ["size", over.size ?? size(4)],
    ["chunks", over.chunks ?? list(chunk())]
  ])
export const object: Write = (p) => void p.global(Dcp.bytes[0]).emptyTuple().newObject()
export const index = (key: string, offset?: Write): Write =>
  instance(Dcp.index[0], [["fqn", text(key)], ["index", none], ...(offset ? [["offset", offset] as const] : [])])
export const storage = (over: { file?: Write; offset?: Write; length?: Write; more?: Attributes } = {}): Write =>
  instance(Dcp.storage[0], [
    ["relative_path", over.file ?? text("__0_0.distcp")],
    ["offset", over.offset ?? int(0)],
    ["length", over.length ?? int(1577)],
    ...(over.more ?? [])
  ])

/** The tensor `w` of [4] in one chunk, unless told otherwise. */
export const metadata = (over: {
  entries?: ReadonlyArray<readonly [Write, Write]>
  storage?: ReadonlyArray<readonly [Write, Write]>
  more?: Attributes
  root?: string
} = {}): Uint8Array => {
  const pickle = new PickleWriter()
  instance(over.root ?? Dcp.metadata[0], [
    ["state_dict_metadata", dict(...over.entries ?? [[text("w"), tensor()]])],
    ["planner_data", none],
    ["storage_data", dict(...over.storage ?? [[index("w", size(0)), storage()]])],
    ...(over.more ?? [])
  ])(pickle)
  return pickle.stop()
}
