/** Folders of ranks from strangers: pickles that mean code, and ranks that are not those of one model. */
import { isAttack } from "../../../src/torch/Globals.ts"
import type { BadCase } from "./Case.ts"
import type { FileSet } from "./FileSet.ts"
import { archive, type ItemStyle, tensorValue } from "./Item.ts"
import { NAMES, OPCODES } from "./megatronBadPickles.ts"
import { call, dict, instance, type Py, raw } from "./Pickle.ts"

const FILE = "model_optim_rng.pt"
const NORM = "decoder.final_layernorm.weight"

interface RankParts {
  readonly args?: Readonly<Record<string, Py>>
  readonly iteration?: Py
  readonly norm?: Uint8Array
  readonly name?: string
  readonly more?: ReadonlyArray<readonly [Py, Py]>
  readonly style?: ItemStyle
}

const sixteen = Buffer.from(Uint8Array.from({ length: 16 }, (_, i) => i))

/** A rank whose model is one norm. */
const rank = ({ args = {}, iteration = 3, more = [], name = NORM, norm = sixteen, style = {} }: RankParts = {}): Uint8Array =>
  archive(
    dict(
      ["args", instance("argparse Namespace", { tensor_model_parallel_size: 1, pipeline_model_parallel_size: 1, ...args })],
      ["checkpoint_version", { float: 3 }],
      ["iteration", iteration],
      ["model", dict([name, tensorValue({ data: norm, dtype: "bfloat16", shape: [norm.length / 2] })])],
      ...more
    ),
    [["0", norm]],
    { root: "model_optim_rng", ...style }
  )

const folders = (ranks: Readonly<Record<string, Uint8Array>>): FileSet =>
  new Map<string, Buffer>([["latest_checkpointed_iteration.txt", Buffer.from("3")], ...Object.entries(ranks).map(([folder, bytes]) => [`iter_0000003/${folder}/${FILE}`, Buffer.from(bytes)] as const)])

const bad = (id: string, ranks: () => Readonly<Record<string, Uint8Array>>, ...says: ReadonlyArray<string>): BadCase =>
  ({ id: `ranks/${id}`, files: () => folders(ranks()), commands: ["inspect", "export"], says })

const one = (id: string, parts: RankParts, ...says: ReadonlyArray<string>): BadCase => bad(id, () => ({ mp_rank_00: rank(parts) }), "mp_rank_00", ...says)
const two = { tensor_model_parallel_size: 2 }

export const megatronBadRanks: ReadonlyArray<BadCase> = [
  ...NAMES.filter((name) => isAttack(...name.split(" ") as [string, string])).map((name) => one(`forbidden/${name}`, { more: [["extra", call(name, "touch /tmp/owned")]] }, name.split(" ").at(-1)!, "byte")),
  ...Object.entries(OPCODES).map(([name, bytes]) => one(`opcode/${name}`, { more: [["extra", raw(...bytes)]] }, "opcode", "byte")),
  one("a-list-in-itself", { more: [["extra", raw(0x5d, 0x71, 0xf0, 0x68, 0xf0, 0x61)]] }, "nested"),
  one("no-model", { style: { value: () => dict(["iteration", 3]) } }, "no model"),
  one("a-record-that-is-not-there", { style: { records: (records) => records.filter(({ name }) => !name.endsWith("data/0")) } }, "data/0"),
  one("cut-short", { style: { bytes: (b) => b.subarray(0, b.length - 30) } }, "byte"),
  one("sizes-that-are-none", { args: { tensor_model_parallel_size: -1 } }, "args.tensor_model_parallel_size"),
  one("sizes-that-no-cluster-has", { args: { tensor_model_parallel_size: 2 ** 40 } }, "args.tensor_model_parallel_size"),
  one("sizes-that-are-text", { args: { tensor_model_parallel_size: "two" } }, "args.tensor_model_parallel_size"),
  bad("more-ranks-than-are-there", () => ({ mp_rank_00: rank({ args: { pipeline_model_parallel_size: 1000, num_layers: 1000 } }) }), "mp_rank_00", "pp=1000"),
  bad("one-missing", () => ({ mp_rank_00: rank({ args: two }) }), "mp_rank_01"),
  bad("of-another-iteration", () => ({ mp_rank_00: rank({ args: two }), mp_rank_01: rank({ args: two, iteration: 4 }) }), "mp_rank_01", "iteration 4"),
  bad("of-another-shape", () => ({ mp_rank_00: rank({ args: two }), mp_rank_01: rank({ args: two, norm: sixteen.subarray(2) }) }), "mp_rank_01", NORM),
  bad("with-another-tensor", () => ({ mp_rank_00: rank({ args: two }), mp_rank_01: rank({ args: two, name: "decoder.final_layernorm.bias" }) }), NORM),
  // Only what is to be converted is compared.
  { id: "ranks/that-disagree", files: () => folders({ mp_rank_00: rank({ args: two }), mp_rank_01: rank({ args: two, norm: Buffer.alloc(16) }) }), commands: ["export"], says: ["mp_rank_01", NORM] },
  bad("an-experts-number-beyond-all", () => ({ mp_rank_00: rank({ name: "decoder.layers.0.mlp.experts.linear_fc1.weight999999" }) }), "expert 0"),
  one("a-layers-number-beyond-all", { name: "decoder.layers.999999.mlp.linear_fc2.weight" }, "layers"),
  one("experts-side-by-side", { name: "decoder.layers.0.mlp.experts.weight1" }, "weight1")
]
