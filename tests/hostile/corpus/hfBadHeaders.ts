/** Headers that break a rule of the format, each in one place. */
import type { BadCase, Command } from "./Case.ts"
import { filesOf, type HeaderEntry, type Json, single, SINGLE, type Shard, withShard } from "./Hf.ts"
import { type Architecture, architectures } from "./Toy.ts"

const COMMANDS: ReadonlyArray<Command> = ["inspect", "import"]
const NORM = "model.norm.weight"
const HEAD = "lm_head.weight"

const header = (id: string, architecture: Architecture, change: Partial<Shard>, ...says: ReadonlyArray<string>): BadCase => ({
  id: `header/${id}`,
  files: () => filesOf(withShard(single(architecture), change)),
  commands: COMMANDS,
  says: [SINGLE, ...says]
})

/** Text of the whole header → text. */
const texts: Readonly<Record<string, readonly [change: (h: string) => string | Uint8Array, ...says: ReadonlyArray<string>]>> = {
  "byte-order-mark": [(h) => `\ufeff${h}`, "byte 8"],
  "nul-padding": [(h) => `${h}\0\0\0`, "byte"],
  "raw-control-character": [(h) => h.replace(NORM, "model.\u0001norm.weight"), "byte"],
  "raw-newline-in-name": [(h) => h.replace(NORM, "model.\nnorm.weight"), "byte"],
  "invalid-utf8": [(h) => Buffer.from(h.replace(NORM, "model.\xffnorm.weight"), "latin1"), "UTF-8", "byte"],
  "overlong-utf8": [(h) => Buffer.from(h.replace(NORM, "model\xc0\xaenorm.weight"), "latin1"), "UTF-8", "byte"],
  "cesu-surrogates": [(h) => Buffer.from(h.replace(NORM, "\xed\xa0\xbd\xed\xb8\x80"), "latin1"), "UTF-8", "byte"],
  "utf16": [(h) => Buffer.from(h, "utf16le"), "byte"],
  "lone-surrogate-escape": [(h) => h.replace(NORM, "model.\\ud800norm.weight"), "surrogate", "byte"],
  "reversed-surrogates": [(h) => h.replace(NORM, "\\ude00\\ud83d"), "surrogate", "byte"],
  "unknown-escape": [(h) => h.replace(NORM, "model.\\xnorm.weight"), "escape", "byte"],
  "array": [(h) => `[${h}]`, "not a JSON object"],
  "string": [() => "\"model\"", "not a JSON object"],
  "null": [() => "null", "not a JSON object"],
  "blank": [() => "        ", "not a JSON object"],
  "python-dict": [(h) => h.replaceAll("\"", "'"), "byte"],
  "trailing-comma": [(h) => `${h.slice(0, -1)},}`, "byte"],
  "missing-comma": [(h) => h.replace("},\"", "}\""), "byte"],
  "missing-colon": [(h) => h.replace(`"${NORM}":`, `"${NORM}"`), "byte"],
  "unclosed": [(h) => h.slice(0, -1), "byte"],
  "two-objects": [(h) => `${h}{}`, "byte"],
  "comment": [(h) => `{/* */${h.slice(1)}`, "byte"],
  "duplicate-tensor": [(h) => `${h.slice(0, -1)},"${NORM}":${h.slice(h.indexOf(`"${NORM}":`) + NORM.length + 3)}`, NORM, "twice"],
  "duplicate-tensor-escaped": [(h) => `${h.slice(0, -1)},"\\u006dodel.norm.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, NORM, "twice"],
  "duplicate-metadata": [(h) => `${h.slice(0, -1)},"__metadata__":{}}`, "__metadata__", "twice"],
  "duplicate-metadata-key": [(h) => h.replace("\"format\":\"pt\"", "\"format\":\"pt\",\"format\":\"pt\""), "format"],
  "duplicate-dtype": [(h) => h.replace("\"dtype\":\"BF16\"", "\"dtype\":\"BF16\",\"dtype\":\"F16\""), "dtype", "lm_head.weight"],
  "duplicate-dtype-identical": [(h) => h.replace("\"dtype\":\"BF16\"", "\"dtype\":\"BF16\",\"dtype\":\"BF16\""), "dtype", "lm_head.weight"],
  "duplicate-offsets": [(h) => h.replace("\"data_offsets\":[0,", "\"data_offsets\":[0,0],\"data_offsets\":[0,"), "data_offsets", "lm_head.weight"],
  "deep-unknown-field": [(h) => h.replace("\"dtype\"", `"x":${"[".repeat(100_000)}${"]".repeat(100_000)},"dtype"`), "byte"],
  "deep-unclosed": [() => "[".repeat(1_000_000), "not a JSON object"],
  "deep-objects": [(h) => `{"a":${"{\"a\":".repeat(100_000)}1${"}".repeat(100_000)},${h.slice(1)}`, "byte"],
  "metadata-null": [(h) => h.replace("{\"format\":\"pt\"}", "null"), "__metadata__"],
  "metadata-array": [(h) => h.replace("{\"format\":\"pt\"}", "[]"), "__metadata__"],
  "metadata-number": [(h) => h.replace("\"pt\"", "1"), "__metadata__", "format"],
  "metadata-nested": [(h) => h.replace("\"pt\"", "{\"a\":\"b\"}"), "__metadata__", "format"],
  "not-a-number-nan": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[NaN,16]"), HEAD, "shape", "byte"],
  "leading-zeros": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[020,16]"), HEAD, "leading zeros", "byte"],
  "plus-sign": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[+20,16]"), HEAD, "shape", "byte"],
  "hexadecimal": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[0x14,16]"), "byte"],
  "float-shape": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[20.0,16]"), HEAD, "shape", "byte"],
  "exponent-shape": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[2e1,16]"), HEAD, "shape", "byte"],
  "minus-zero-offset": [(h) => h.replace("\"data_offsets\":[0,", "\"data_offsets\":[-0,"), HEAD, "data_offsets", "byte"],
  "beyond-2^53": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[9007199254740993,16]"), HEAD, "shape", "2^53"],
  "beyond-2^64": [(h) => h.replace("\"shape\":[20,16]", "\"shape\":[18446744073709551617,16]"), HEAD, "shape", "2^53"],
  "thousand-digits": [(h) => h.replace("\"shape\":[20,16]", `"shape":[${"9".repeat(100_000)},16]`), "byte"]
}

/** What replaces fields of the entry of `lm_head.weight`, the first tensor, BF16 [20,16], 640 bytes; `entry-…` and `no-…` all of it. */
const entries: Readonly<Record<string, readonly [change: Partial<Record<keyof HeaderEntry, Json>> | Json, ...says: ReadonlyArray<string>]>> = {
  "entry-array": [["BF16", [20, 16], [0, 640]], "not an object"],
  "entry-null": [null, "not an object"],
  "entry-string": ["BF16", "not an object"],
  "entry-empty": [{}, "dtype"],
  "no-dtype": [{ shape: [20, 16], data_offsets: [0, 640] }, "dtype"],
  "no-shape": [{ dtype: "BF16", data_offsets: [0, 640] }, "shape"],
  "no-offsets": [{ dtype: "BF16", shape: [20, 16] }, "data_offsets"],
  "dtype-unknown": [{ dtype: "BF17" }, "BF17"],
  "dtype-lower-case": [{ dtype: "bf16" }, "bf16"],
  "dtype-torch-name": [{ dtype: "torch.bfloat16" }, "torch.bfloat16"],
  "dtype-number": [{ dtype: 16 }, "dtype"],
  "dtype-null": [{ dtype: null }, "dtype"],
  "dtype-prototype": [{ dtype: "constructor" }, "constructor"],
  "dtype-wider": [{ dtype: "F32" }, "1280", "640"],
  "dtype-narrower": [{ dtype: "I8" }, "320", "640"],
  "dtype-sub-byte": [{ dtype: "F4", shape: [3], data_offsets: [0, 2] }, "whole bytes"],
  "shape-string": [{ shape: "20,16" }, "shape"],
  "shape-null": [{ shape: null }, "shape"],
  "shape-of-strings": [{ shape: ["20", "16"] }, "shape"],
  "shape-of-booleans": [{ shape: [true, 16] }, "shape"],
  "shape-nested": [{ shape: [[20, 16]] }, "shape"],
  "shape-negative": [{ shape: [-20, 16] }, "shape"],
  "shape-both-negative": [{ shape: [-20, -16] }, "shape"],
  "shape-empty": [{ shape: [] }, "640"],
  "shape-larger": [{ shape: [21, 16] }, "672", "640"],
  "shape-wraps-u64": [{ shape: [2 ** 32, 2 ** 32, 2] }, "2^53"],
  "shape-wraps-to-size": [{ shape: [2 ** 32 + 20, 2 ** 32, 16] }, "2^53"],
  "shape-huge-then-zero": [{ shape: [2 ** 40, 2 ** 40, 0], data_offsets: [0, 0] }, "2^53"],
  "scalar-without-bytes": [{ shape: [], data_offsets: [0, 0] }, "needs 2 bytes"],
  "offsets-one": [{ data_offsets: [0] }, "data_offsets"],
  "offsets-three": [{ data_offsets: [0, 320, 640] }, "data_offsets"],
  "offsets-empty": [{ data_offsets: [] }, "data_offsets"],
  "offsets-null": [{ data_offsets: null }, "data_offsets"],
  "offsets-reversed": [{ data_offsets: [640, 0] }, "before"],
  "offsets-negative": [{ data_offsets: [-640, 0] }, "data_offsets"],
  "offsets-far-away": [{ data_offsets: [2 ** 40, 2 ** 40 + 640] }, "byte"],
  "offsets-at-2^53": [{ data_offsets: [2 ** 53 - 641, 2 ** 53 - 1] }, "byte"],
  "offsets-strings": [{ data_offsets: ["0", "640"] }, "data_offsets"]
}

/** Tensors that overlap, or leave bytes to nobody. */
const places: Readonly<Record<string, readonly [change: (h: Record<string, HeaderEntry>) => void, ...says: ReadonlyArray<string>]>> = {
  "overlap-exact": [(h) => { h["model.embed_tokens.weight"] = { ...h["model.embed_tokens.weight"]!, data_offsets: [0, 640] } }, "lm_head.weight", "inside"],
  "overlap-by-two": [(h) => { h["model.embed_tokens.weight"] = { ...h["model.embed_tokens.weight"]!, data_offsets: [638, 1278] } }, "model.embed_tokens.weight", "inside"],
  "hole-at-start": [(h) => { delete h["lm_head.weight"] }, "model.embed_tokens.weight", "640 bytes"],
  "hole-in-the-middle": [(h) => { delete h["model.embed_tokens.weight"] }, "640 bytes", "belong to no tensor"],
  "hole-at-the-end": [(h) => { delete h[NORM] }, "32 bytes", "belong to no tensor"],
  "no-tensors-but-data": [(h) => { for (const name of Object.keys(h)) if (name !== "__metadata__") delete h[name] }, "belong to no tensor"],
  "empty-tensor-inside-another": [(h) => { h["empty"] = { dtype: "BF16", shape: [0], data_offsets: [10, 10] } }, "inside"],
  "empty-tensor-past-the-end": [(h) => { h["empty"] = { dtype: "BF16", shape: [0], data_offsets: [2 ** 30, 2 ** 30] } }, "empty"]
}

export const hfBadHeaders: ReadonlyArray<BadCase> = [
  ...Object.entries(texts).map(([id, [text, ...says]], i) => header(id, architectures[i % 3]!, { text }, ...says)),
  ...Object.entries(entries).map(([id, [change, ...says]], i) =>
    header(`entry/${id}`, architectures[i % 3]!, {
      entries: (h) => ({ ...h, [HEAD]: /^(entry|no)-/.test(id) ? change : { ...(h[HEAD] as object), ...(change as object) } })
    }, HEAD, ...says)),
  ...Object.entries(places).map(([id, [change, ...says]], i) =>
    header(`place/${id}`, architectures[i % 3]!, {
      entries: (h) => {
        change(h as Record<string, HeaderEntry>)
        return h
      }
    }, ...says))
]
