/** Numbers in the spelling that PyYAML writes and reads as floats: the YAML library would print `1.0e-06` as `1e-6`, which PyYAML takes for a string. */
import type { Scalar } from "yaml"

/** Python's `repr` of a float as PyYAML prints it: always with a point, exponents with a sign and two digits. */
export const pythonFloat = (value: number): string => {
  if (Number.isNaN(value)) return ".nan"
  if (!Number.isFinite(value)) return value > 0 ? ".inf" : "-.inf"
  const magnitude = Math.abs(value)
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [mantissa, exponent] = value.toExponential().split("e") as [string, string]
    const digits = exponent.slice(1).padStart(2, "0")
    return `${mantissa.includes(".") ? mantissa : `${mantissa}.0`}e${exponent[0]}${digits}`
  }
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

/** Carries the text of a number through the YAML library. */
export class FloatText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Prints {@link FloatText} as it stands; resolves nothing. */
export const floatTextTag = {
  tag: "tag:yaml.org,2002:float",
  default: true as const,
  identify: (value: unknown) => value instanceof FloatText,
  resolve: (text: string) => text,
  test: /^$/,
  stringify: (item: Scalar) => (item.value as FloatText).text
}
