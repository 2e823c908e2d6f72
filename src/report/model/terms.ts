/** The words of a page, each with what it means. */
import type { AxisName } from "./rankColumns.ts"

export const TERMS = {
  rank: "one process of the training run, with one GPU; ranks are numbered through all components",
  component: "a part of the model with a layout and ranks of its own: the language model, an encoder of images …",
  tp: "tensor parallel: the ranks of a group share every large tensor, each has a slice of it",
  pp: "pipeline parallel: the ranks share the layers out, in stages one after the other",
  dp: "data parallel: the ranks hold the same dense weights and train on other data",
  cp: "context parallel: the ranks hold the same weights and share a sequence out",
  ep: "expert parallel: the ranks of a stage share the routed experts of every layer out",
  etp: "expert tensor parallel: the ranks share every routed expert, each has a slice of it",
  replica: "a rank that holds the same weights as another; replicas write nothing of their own",
  chunk: "a box of a stored tensor that one rank wrote, at one place of one file",
  object: "a small pickled value beside the tensors: states of modules that have no tensor, and the common state of the run",
  mtp: "multi-token prediction: layers behind the last one that predict tokens further ahead",
  expert: "one of the feed-forward networks of a layer that a router chooses from",
  "outside layers": "embeddings, final norms, heads: what belongs to no layer",
  beside: "in the files, but part of no model that a trainer builds: kept so that nothing is lost on the way back",
  hf_source: "Hugging Face tensors whose own bytes travel beside the model, because arithmetic rounded them or Megatron has no place for them",
  shard: "one .safetensors file of a Hugging Face model",
  "source box, target box": "the part of a tensor that a copy reads, and the part of another that it writes; the bytes are the same"
} as const satisfies Readonly<Record<AxisName | string, string>>

export type Term = keyof typeof TERMS
