/** Rows of a Mamba-2 mixer; names are the same on both sides. */
import type { Table } from "../../src/bridge/Registry.ts"

const NAMES = ["conv1d.weight", "conv1d.bias", "dt_bias", "A_log", "D", "in_proj.weight", "norm.weight", "out_proj.weight"]

/** Rows of a Mamba mixer, below a Megatron and an HF prefix. */
export const mambaMixerRows = (megatron: string, hf: string): Table => Object.fromEntries(NAMES.map((name) => [megatron + name, hf + name]))
