/**
 * What Megatron's configuration class computes from its other fields once it is final. A trainer computes the same again before it
 * builds the model; whoever only reads the file (a comparison, another converter) would otherwise find the class's raw defaults.
 * The rules are those of Megatron-Core's TransformerConfig and ModelParallelConfig.
 */
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { float, type Provider, pythonEnum, pythonName, pythonPartial, type PythonValue } from "./Provider.ts"

type Fields = Readonly<Record<string, PythonValue>>

const numberOf = (value: PythonValue | undefined): number | undefined =>
  typeof value === "number" ? value : typeof value === "object" && value !== null && "$float" in value ? (value as { $float: number }).$float : undefined

const INIT_METHOD_STD = 0.02

const normal = (std: number): PythonValue => pythonPartial("torch.nn.init.normal_", { mean: float(0), std: float(std) })

/** Projections back into the residual stream start smaller: there are two of them per layer, in a hybrid model one. */
const initialisation = (fields: Fields): Fields => {
  const std = numberOf(fields["init_method_std"]) ?? INIT_METHOD_STD
  const embeddingStd = numberOf(fields["embedding_init_method_std"]) ?? std
  const branches = (numberOf(fields["num_layers"]) ?? 1) * (fields["is_hybrid_model"] === true ? 1 : 2)
  return {
    init_method: normal(std),
    output_layer_init_method: normal(std / Math.sqrt(branches)),
    embedding_init_method: normal(embeddingStd),
    embedding_init_method_std: float(embeddingStd)
  }
}

/** A converted checkpoint holds every weight, so its model needs no random ones; and it is first put together on the CPU. */
const CONVERTED: Fields = { perform_initialization: false, use_cpu_initialization: true }

/** The dispatcher for tokens of uneven number pads them. */
const dispatch = (fields: Fields): Fields =>
  fields["moe_token_dispatcher_type"] === "flex" && fields["moe_flex_dispatcher_backend"] === "hybridep"
    ? { moe_hybridep_pad_uneven_dispatch_inputs: true }
    : {}

/** Older names of the variants of attention. */
const VARIANTS: Readonly<Record<string, string>> = { gated_delta_net: "gdn" }

const attentionVariant = ({ experimental_attention_variant: given }: Fields): Fields =>
  typeof given === "string" && VARIANTS[given] ? { experimental_attention_variant: VARIANTS[given] } : {}

/** A model whose layers are all mixtures of experts still has a width of dense layers. */
const denseWidth = ({ ffn_hidden_size: given, hidden_size: hidden }: Fields): Fields =>
  typeof given !== "number" && typeof hidden === "number" ? { ffn_hidden_size: 4 * hidden } : {}

/** The fields of a provider, complete. What the provider states itself stays. */
export const complete = (provider: Provider, { pp }: ModuleParallelism): Fields => {
  const { fields } = provider
  const dtype = fields["params_dtype"] ?? pythonName("torch.float32")
  return {
    ...initialisation(fields),
    ...CONVERTED,
    autocast_dtype: dtype,
    ...(pp > 1 ? { pipeline_dtype: dtype } : {}),
    recompute_modules: ["core_attn"],
    microbatch_group_size_per_vp_stage: pp,
    cuda_graph_modules: [],
    inference_cuda_graph_scope: pythonEnum("megatron.core.transformer.enums.InferenceCudaGraphScope", "none", 1),
    ...dispatch(fields),
    ...fields,
    ...denseWidth(fields),
    ...attentionVariant(fields)
  }
}
