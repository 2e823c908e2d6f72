/**
 * The names of torch that our pickles may contain. Lists are exact: a blocklist loses, a prefix lets too much in.
 */
import { dtypes, torchName } from "../tensor/DType.ts"
import type { DType } from "../tensor/DType.ts"

/** dtype → legacy storage class. All other dtypes are stored as bytes (`UntypedStorage`, `_rebuild_tensor_v3`; torch 2.13). */
const LEGACY_STORAGE: ReadonlyMap<DType, string> = new Map<DType, string>([
  ["BF16", "BFloat16Storage"],
  ["F16", "HalfStorage"],
  ["F32", "FloatStorage"],
  ["F64", "DoubleStorage"],
  ["I64", "LongStorage"],
  ["I32", "IntStorage"],
  ["I16", "ShortStorage"],
  ["I8", "CharStorage"],
  ["U8", "ByteStorage"],
  ["BOOL", "BoolStorage"],
  ["C64", "ComplexFloatStorage"]
])

const DTYPE_OF_STORAGE: ReadonlyMap<string, DType> = new Map(
  [...LEGACY_STORAGE].map(([dtype, name]) => [`torch ${name}`, dtype])
)

const DTYPE_OF_GLOBAL: ReadonlyMap<string, DType> = new Map(
  dtypes.flatMap((dtype) => torchName(dtype) === undefined ? [] : [[`torch ${torchName(dtype)}`, dtype] as const])
)

/** torch dtypes that exist in files but not here; on the lists so that the error can be about the dtype. */
const UNSUPPORTED_DTYPES = ["complex32", "complex128", "float4_e2m1fn_x2", "qint8", "quint8", "qint32"].map((name) => `torch ${name}`)

/** `torch BFloat16Storage` for BF16; undefined for dtypes that are stored as bytes. */
export const storageGlobal = (dtype: DType): string | undefined => {
  const name = LEGACY_STORAGE.get(dtype)
  return name === undefined ? undefined : `torch ${name}`
}
export const dtypeOfStorage = (global: string): DType | undefined => DTYPE_OF_STORAGE.get(global)
export const dtypeOfGlobal = (global: string): DType | undefined => DTYPE_OF_GLOBAL.get(global)

export const UNTYPED_STORAGE = "torch.storage UntypedStorage"
export const REBUILD_V2 = "torch._utils _rebuild_tensor_v2"
export const REBUILD_V3 = "torch._utils _rebuild_tensor_v3"
export const REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
/** Parameters and tensors with attributes, e.g. those by which Megatron marks what it has split. */
export const REBUILD_PARAMETER_STATE = "torch._utils _rebuild_parameter_with_state"
export const REBUILD_TYPED = "torch._tensor _rebuild_from_type_v2"
export const ORDERED_DICT = "collections OrderedDict"
export const SIZE = "torch Size"
export const NAMESPACE = "argparse Namespace"

const DTYPE_GLOBALS = [...DTYPE_OF_GLOBAL.keys(), ...UNSUPPORTED_DTYPES]

/** What the `data.pkl` of a tensor may name. */
export const TENSOR_GLOBALS: ReadonlySet<string> = new Set([
  REBUILD_V2, REBUILD_V3, REBUILD_PARAMETER, ORDERED_DICT, SIZE, UNTYPED_STORAGE, "torch ComplexDoubleStorage",
  ...DTYPE_OF_STORAGE.keys(), ...DTYPE_GLOBALS
])

/** What the state dict of a model may name besides: parameters, and tensors with attributes. */
export const WEIGHT_GLOBALS: ReadonlySet<string> = new Set([
  ...TENSOR_GLOBALS, REBUILD_PARAMETER_STATE, REBUILD_TYPED, "torch Tensor", "torch.nn.parameter Parameter", "torch.nn Parameter"
])

/** Modules, and names of builtins, that no state of a training run refers to and that an attack needs. Refused even where unknown names are kept as inert values. */
const ATTACK_MODULES: ReadonlySet<string> = new Set([
  "os", "posix", "nt", "sys", "subprocess", "pty", "socket", "shutil", "importlib", "runpy", "ctypes", "code", "webbrowser", "marshal", "pickle", "_pickle"
])
const ATTACK_BUILTINS: ReadonlySet<string> = new Set(["eval", "exec", "compile", "open", "__import__", "input", "breakpoint"])

export const isAttack = (module: string, name: string): boolean =>
  ATTACK_MODULES.has(module.split(".")[0]!) || ((module === "builtins" || module === "__builtin__") && ATTACK_BUILTINS.has(name))

const metadata = "torch.distributed.checkpoint.metadata"
/** Where `TensorProperties` lived up to torch 2.2. */
const oldMetadata = "torch.distributed._shard.sharded_tensor.metadata"
const planner = "torch.distributed.checkpoint.planner"
const filesystem = "torch.distributed.checkpoint.filesystem"
const megatron = "megatron.core.dist_checkpointing.strategies.torch"

/** The classes of `.metadata` that carry meaning; several where a class has moved. */
export const Dcp = {
  metadata: [`${metadata} Metadata`, `${megatron} MCoreMetadata`],
  tensor: [`${metadata} TensorStorageMetadata`],
  bytes: [`${metadata} BytesStorageMetadata`],
  chunk: [`${metadata} ChunkStorageMetadata`],
  properties: [`${metadata} TensorProperties`, `${oldMetadata} TensorProperties`],
  index: [`${metadata} MetadataIndex`],
  storage: [`${filesystem} _StorageInfo`],
  writeItem: [`${planner} WriteItem`],
  memoryFormat: [`${metadata} _MEM_FORMAT_ENCODING`, `${metadata} MEM_FORMAT_ENCODING`, `${oldMetadata} MEM_FORMAT_ENCODING`],
  layout: "torch.serialization _get_layout"
} as const

/** What `.metadata` may name: the above, and the inert rest (ids, saved plans) that torch 2.2 to 2.13 and Megatron put there. */
export const METADATA_GLOBALS: ReadonlySet<string> = new Set([
  ...Object.values(Dcp).flat(), ...DTYPE_GLOBALS, SIZE, ORDERED_DICT, "torch strided",
  `${metadata} StorageMeta`, `${filesystem} _StoragePrefix`,
  ...["SavePlan", "WriteItemType", "TensorWriteData", "BytesIOWriteData"].map((name) => `${planner} ${name}`),
  `${megatron} MCoreSavePlan`,
  "builtins getattr", "__builtin__ getattr",
  "pathlib PosixPath", "pathlib._local PosixPath", "pathlib WindowsPath", "pathlib._local WindowsPath"
])
