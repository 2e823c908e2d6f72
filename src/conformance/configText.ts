/** The `config.json` of a case, printed with the numbers spelled as in the case file. */
type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

// TypeScript's library does not know the reviver's third argument and `rawJSON` yet; Node has had both since version 21.
const parse = JSON.parse as (text: string, reviver: Reviver) => unknown
const rawJson = (JSON as unknown as { readonly rawJSON: (text: string) => unknown }).rawJSON

/** To Python `500000` is an integer and `500000.0` is not, and what is derived from a config shows the difference. */
const keepSpelling: Reviver = (_key, value, { source }) =>
  typeof value === "number" && source !== undefined ? rawJson(source) : value

/** `hf.config` of the case file `text`, as `json.dumps(…, indent=2)` and a final newline: the way transformers writes it. */
export const configText = (text: string): string => {
  const { hf } = parse(text, keepSpelling) as { readonly hf: { readonly config: unknown } }
  const ascii = JSON.stringify(hf.config, undefined, 2).replace(/[\u007f-\uffff]/g, (unit) =>
    `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return `${ascii}\n`
}
