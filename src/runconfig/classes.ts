/** Dotted names of the reference's classes that are no model's own. */
const MIMO = "megatron.bridge.models.megatron_mimo"

export const MIMO_PROVIDER = `${MIMO}.megatron_mimo_provider.MegatronMIMOProvider`
export const MIMO_PARALLELISM = `${MIMO}.megatron_mimo_config.MegatronMIMOParallelismConfig`
export const MODULE_PARALLELISM = `${MIMO}.megatron_mimo_config.ModuleParallelismConfig`
export const GPT_PROVIDER = "megatron.bridge.models.gpt_provider.GPTModelProvider"
export const HYBRID_PROVIDER = "megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider"
export const MLA_PROVIDER = "megatron.bridge.models.mla_provider.MLAModelProvider"
export const CONFIG_CONTAINER = "megatron.bridge.training.config.ConfigContainer"
export const CHECKPOINT_CONFIG = "megatron.bridge.training.config.CheckpointConfig"
export const TOKENIZER_CONFIG = "megatron.bridge.training.tokenizers.config.TokenizerConfig"
