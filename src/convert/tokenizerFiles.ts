/** What a tokenizer consists of, of the small files of a model directory. */
export const TOKENIZER_FILE = /^(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template.*|.*\.tiktoken|.*\.model)$/
