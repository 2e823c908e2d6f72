/**
 * The smallest tokenizer that transformers' `AutoTokenizer` loads and that accepts any text: byte-level BPE without merges,
 * 256 symbols, then two special tokens with the ids 256 and 257.
 */

/** GPT-2's printable stand-in for every byte: Latin-1's printable characters stand for themselves, the others for U+0100 on. */
const symbols = (): ReadonlyArray<string> => {
  const own = (code: number) => (code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xac) || code >= 0xae
  const codes = Array.from({ length: 256 }, (_, code) => code)
  const others = codes.filter((code) => !own(code)).length
  return [...codes.filter(own), ...codes.slice(0, others).map((k) => 0x100 + k)].map((code) => String.fromCodePoint(code))
}

const END = "<|im_end|>"
const PAD = "<|endoftext|>"

const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true
})

const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } })

/** `tokenizer.json` (format version 1.0 of the tokenizers library), UTF-8, no final newline. */
export const tokenizerJson = (): string =>
  JSON.stringify({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(256, END), special(257, PAD)],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [sequence("A", 0)],
      pair: [sequence("A", 0), sequence("B", 1)],
      special_tokens: {}
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(symbols().map((symbol, id) => [symbol, id])),
      merges: []
    }
  }, undefined, 2)

/** `tokenizer_config.json`; the class name is one that transformers 4 and 5 both know. */
export const tokenizerConfig = {
  clean_up_tokenization_spaces: false,
  eos_token: END,
  model_max_length: 1000000,
  pad_token: PAD,
  sep_token: END,
  tokenizer_class: "PreTrainedTokenizerFast"
}
