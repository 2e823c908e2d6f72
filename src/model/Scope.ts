/**
 * Collects the entries of a model. A scope is a place in the module tree: it knows the in-memory prefix, the stored prefix,
 * the layer axis (stacked layers share one key with a leading layer axis) and the pipeline stage, so that modules can be
 * described without any of them.
 */
import { FormatError } from "../errors.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { stateKey } from "./shardKey.ts"
import type { Block, PlacedBlock } from "./Block.ts"
import type { AttentionShape, Entry, Expert, ModuleState, Parameter, StoredPart, Stage } from "./Parameter.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** What a parameter has besides a name and a shape. */
export interface ParameterOptions {
  readonly splitAxis?: number | undefined
  readonly ragged?: boolean
  readonly attention?: AttentionShape
  readonly keep?: DType
  readonly integer?: true
  /** Rows of axis 0 stored under keys of their own: `[suffix, rows]`, in order. */
  readonly named?: ReadonlyArray<readonly [suffix: string, rows: number]>
  /** Gate and up halves of a gated projection: stored under one key, cut separately. */
  readonly halves?: boolean
}

/** Twice the number that the largest known model would have. So many take some 600 MB when they are bound to their tensors. */
const MOST_ENTRIES = 400_000

/** The entries so far, and what many of them have in common: a key or shape is repeated by every layer and expert. */
class Collection {
  readonly entries: Array<Entry> = []
  readonly blocks: Array<PlacedBlock> = []
  readonly #keys = new Map<string, string>()
  readonly #lists = new Map<string, Shape>()

  add(entry: Entry): void {
    this.entries.push(entry)
    this.expect(0, "")
  }

  /** Refuse if so many entries were to follow those that are there. */
  expect(more: number, what: string): void {
    if (this.entries.length + more <= MOST_ENTRIES) return
    throw new FormatError("config/too-many-parts", `the model would consist of more than ${MOST_ENTRIES} parameters and module states${what}`)
  }

  key(text: string): string {
    const known = this.#keys.get(text)
    if (known === undefined) this.#keys.set(text, text)
    return known ?? text
  }

  list<List extends Shape>(list: List): List {
    const text = list.join()
    const known = this.#lists.get(text)
    if (!known) this.#lists.set(text, list)
    return (known ?? list) as List
  }
}

interface ScopePath {
  /** In-memory and stored prefix; both empty or ending in a dot. */
  readonly memory: string
  readonly stored: string
  /** Leading axes of the stored tensors: this module is number `index` of `of`. */
  readonly axes: ReadonlyArray<{ readonly index: number; readonly of: number }>
  readonly stage: Stage
  /** Number of the innermost layer. */
  readonly layer?: number
  readonly expert?: Expert
  readonly mtp?: true
  readonly config?: TransformerConfig
  readonly keep?: { readonly dtype: DType; readonly names: RegExp }
}

/** What a module consists of. */
export interface ModuleParts {
  readonly entries: ReadonlyArray<Entry>
  readonly blocks: ReadonlyArray<PlacedBlock>
}

/** A place in the module tree, where a description of a model adds parameters, module states and submodules. */
export class Scope {
  readonly #collection: Collection
  readonly #place: ScopePath

  private constructor(collection: Collection, place: ScopePath) {
    this.#collection = collection
    this.#place = place
  }

  /** Collect a whole model. */
  static collect(describe: (root: Scope) => void): ReadonlyArray<Entry> {
    return Scope.collectAll([describe])[0]!.entries
  }

  /** Collect the modules of one model, in order, each apart. */
  static collectAll(modules: ReadonlyArray<(root: Scope) => void>): ReadonlyArray<ModuleParts> {
    const collection = new Collection()
    return modules.map((describe) => {
      const [entries, blocks] = [collection.entries.length, collection.blocks.length]
      describe(new Scope(collection, { memory: "", stored: "", axes: [], stage: "first" }))
      return { entries: collection.entries.slice(entries), blocks: collection.blocks.slice(blocks) }
    })
  }

  #with(change: Partial<ScopePath>): Scope {
    return new Scope(this.#collection, { ...this.#place, ...change })
  }

  /** A submodule; `stored` where its name on disk differs from the one in memory. */
  at(memory: string, stored = memory): Scope {
    return this.#with({ memory: `${this.#place.memory}${memory}.`, stored: `${this.#place.stored}${stored}.` })
  }

  /** Everything below is on this pipeline stage. */
  on(stage: Stage): Scope {
    return this.#with({ stage })
  }

  /** Everything below is built from this configuration: a layout must fit its sizes. */
  from(config: TransformerConfig): Scope {
    return this.#place.config === config ? this : this.#with({ config })
  }

  /** Parameters below with such a name stay in this dtype, whatever the model's. */
  keeping(dtype: DType, names: RegExp): Scope {
    return this.#with({ keep: { dtype, names } })
  }

  /** Everything below belongs to multi-token prediction. */
  forMtp(): Scope {
    return this.#with({ mtp: true })
  }

  /** A further leading axis on disk: this module is number `index` of `of` stored under one key. */
  stacked(index: number, of: number): Scope {
    return this.#with({ axes: [...this.#place.axes, { index, of }] })
  }

  /** The innermost leading axis replaced: stacked among modules of its own kind only. Nothing changes where layers are indexed. */
  restacked(index: number, of: number): Scope {
    const { axes } = this.#place
    return axes.length === 0 ? this : this.#with({ axes: [...axes.slice(0, -1), { index, of }] })
  }

  /**
   * Layers `<name>.0 … <name>.count-1`. Stacked: one key for all, with a leading axis of extent `count`; indexed: the layer
   * number stays in the key. Each layer sits on its own pipeline stage unless `staged` is false.
   */
  layers(
    name: string,
    count: number,
    layout: "stacked" | "indexed",
    describe: (layer: Scope, index: number) => void,
    options: { readonly staged?: boolean } = {}
  ): void {
    for (let i = 0; i < count; i++) {
      const layer = layout === "stacked" ? this.at(`${name}.${i}`, name).stacked(i, count) : this.at(`${name}.${i}`)
      const before = this.#collection.entries.length
      describe(layer.#with({ layer: i, ...(options.staged === false ? {} : { stage: { layer: i, of: count } }) }), i)
      this.#collection.expect((this.#collection.entries.length - before) * (count - i - 1), `: ${count} layers`)
    }
  }

  /**
   * Routed expert `index` of `of`: in memory a numbered parameter of the grouped module, on disk a slice of the tensors below
   * `stored`, which have an expert axis.
   */
  expert(stored: string, index: number, of: number): Scope {
    return this.stacked(index, of).#with({ stored: `${this.#place.stored}${stored}.`, expert: { index, of } })
  }

  /** What is built here, as facts. */
  block(block: Block): void {
    const { layer, memory, mtp } = this.#place
    this.#collection.blocks.push({ path: memory, ...(layer === undefined ? {} : { layer }), ...(mtp ? { mtp } : {}), block })
  }

  /** A parameter; `stored` where its last name on disk differs from the one in memory. */
  parameter(memory: string, shape: Shape, options: ParameterOptions = {}, stored = memory): void {
    const { attention, halves, integer, named, ragged, splitAxis } = options
    const { axes, config, expert, keep: rule, mtp, stage } = this.#place
    const name = `${this.#place.memory}${memory}`
    const keep = options.keep ?? (rule?.names.test(name) ? rule.dtype : undefined)
    const key = this.#collection.key(`${this.#place.stored}${stored}`)
    const whole = this.#collection.list(shape)
    const refuse = (problem: string): never => {
      throw new FormatError("config/sizes", problem, { tensor: name })
    }
    if (!shape.every((extent) => Number.isInteger(extent) && extent > 0)) refuse(`the config implies the shape [${shape}]`)
    if (attention && attention.heads % attention.groups !== 0) refuse(`${attention.heads} query heads do not divide among ${attention.groups} key/value groups`)
    /** `rows` of the parameter, stored from row `at` on in a tensor `partKey` of `keyRows` rows. */
    const part = (partKey: string, keyRows: number | undefined, at: number, rows?: readonly [number, number]): StoredPart => ({
      key: partKey,
      shape: this.#collection.list(axes.map((a) => a.of).concat(keyRows === undefined ? shape : [keyRows].concat(shape.slice(1)))),
      at: axes.map((a) => a.index).concat(shape.map((_, axis) => (axis === 0 ? at : 0))),
      ...(rows ? { rows: this.#collection.list(rows) } : {})
    })
    const partsOf = (): ReadonlyArray<StoredPart> => {
      if (named) {
        let row = 0
        const parts = named.map(([suffix, rows]) => part(this.#collection.key(`${key}.${suffix}`), rows, 0, [row, row += rows]))
        if (row !== shape[0]) refuse(`its named parts have ${row} rows of ${shape[0]}`)
        return parts
      }
      if (!halves) return [part(key, undefined, 0)]
      const half = shape[0]! / 2
      if (!Number.isInteger(half)) refuse(`${shape[0]} rows have no halves`)
      return [part(key, shape[0], 0, [0, half]), part(key, shape[0], half, [half, 2 * half])]
    }
    const parts = partsOf()
    if (parts[0]!.shape.reduce((n, extent) => n * extent, 1) > Number.MAX_SAFE_INTEGER) refuse(`a tensor of shape [${parts[0]!.shape}] has too many elements`)
    const entry: Parameter = {
      kind: "parameter",
      name,
      shape: whole,
      parts,
      stage,
      ...(splitAxis === undefined ? {} : { splitAxis }),
      ...(ragged ? { ragged } : {}),
      ...(attention ? { attention } : {}),
      ...(keep ? { keep } : {}),
      ...(integer ? { integer } : {}),
      ...(expert ? { expert } : {}),
      ...(mtp ? { mtp } : {}),
      ...(config ? { config } : {})
    }
    this.#collection.add(entry)
  }

  /** The `_extra_state` object of the module `stored` (relative to this scope; "" for the scope itself). */
  state(stored: string, payload: ModuleState["payload"] = "empty"): void {
    const { axes, expert, mtp, stage, stored: prefix } = this.#place
    const module = stored === "" ? prefix.slice(0, -1) : `${prefix}${stored}`
    const entry: ModuleState = {
      kind: "state",
      key: stateKey(module, axes.map((a) => a.index), axes.map((a) => a.of)),
      payload,
      stage,
      ...(expert ? { expert } : {}),
      ...(mtp ? { mtp } : {})
    }
    this.#collection.add(entry)
  }
}
