/**
 * Layers and experts in the keys of a Megatron checkpoint. Stacked: one key for all layers, with a leading layer axis
 * (`decoder.layers.mlp.…`); indexed: one key each (`decoder.layers.7.mlp.…`). The same for experts, grouped (`experts.experts.linear_fc1.weight`,
 * an expert axis behind the layer axis) or one by one (`experts.experts.7.linear_fc1.weight`) (torch-dist-format.md D.2, D.3).
 */

/** `list` is the path of the layer list, `rest` what is below one layer. */
export interface StackedLayer {
  readonly list: string
  readonly rest: string
}

export interface IndexedLayer extends StackedLayer {
  readonly index: number
}

const STACKED = /^(.*?\blayers)\.(?!\d)(.+)$/
const INDEXED = /^(.*?\blayers)\.(\d{1,6})\.(.+)$/
/** Only transformer blocks are ever stacked: the layers of multi-token prediction and of foreign towers are not. */
const BLOCK = /^((?:.*\.)?decoder\.layers)\.(\d{1,6})\.(.+)$/

const indexed = (pattern: RegExp, key: string): IndexedLayer | undefined => {
  const [, list, index, rest] = pattern.exec(key) ?? []
  return list === undefined ? undefined : { list, index: Number(index), rest: rest! }
}

/** A key that holds all layers of a list. */
export const stackedLayer = (key: string): StackedLayer | undefined => {
  const [, list, rest] = STACKED.exec(key) ?? []
  return list === undefined ? undefined : { list, rest: rest! }
}

/** A key of one layer of any list; the outermost list counts. */
export const indexedLayer = (key: string): IndexedLayer | undefined => indexed(INDEXED, key)

/** A key of one layer of a list that could be stacked. */
export const blockLayer = (key: string): IndexedLayer | undefined => indexed(BLOCK, key)

const INNERMOST = /^(.*\blayers)\.(?:(\d{1,6})\.)?(.*)$/

/** A key of the innermost list of layers that it names, in either form: without an index it holds all of them. */
export const innermostLayer = (key: string): (StackedLayer & { readonly index?: number }) | undefined => {
  const [, list, index, rest] = INNERMOST.exec(key) ?? []
  return list === undefined ? undefined : { list, rest: rest!, ...(index === undefined ? {} : { index: Number(index) }) }
}

export interface ExpertKey {
  /** The path of the expert list. */
  readonly list: string
  /** One expert's number; undefined where one key holds them all. */
  readonly expert?: number
  /** `linear_fc1`, `linear_fc2`. */
  readonly module: string
  /** `weight`, `bias_w` … */
  readonly name: string
}

const GROUPED = /^(.*\.experts\.experts)\.(linear_fc[12])\.([^.]+)$/
/** Also as SequentialMLP itself names them, `experts.local_experts.{e}.X`, and without either. */
const SINGLE = /^(.*\.experts(?:\.(?:experts|local_experts))?)\.(\d{1,6})\.(linear_fc[12])\.([^.]+)$/

/** A key of routed experts. */
export const expertKey = (key: string): ExpertKey | undefined => {
  const [, list, expert, module, name] = SINGLE.exec(key) ?? []
  if (list !== undefined) return { list, expert: Number(expert), module: module!, name: name! }
  const [, all, itsModule, itsName] = GROUPED.exec(key) ?? []
  return all === undefined ? undefined : { list: all, module: itsModule!, name: itsName! }
}

/** Where experts that are stored one by one go together. */
export const groupedList = (list: string): string => `${list.replace(/\.experts(\.(experts|local_experts))?$/, "")}.experts.experts`

/** How many axes for layers and experts a stored tensor has in front of its own. */
export const leadingAxes = (key: string): number =>
  (/\b(?:layers|deepstack_merger_list)\.(?!\d)/.test(key) ? 1 : 0) + (/\.experts\.experts\.(?!\d)/.test(key) ? 1 : 0)
