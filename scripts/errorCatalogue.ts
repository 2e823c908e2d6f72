/** What every error code means and what to do about it: the one list behind docs/errors.md. */

export interface Area {
  /** Codes begin with it. */
  readonly prefix: string
  readonly title: string
  /** What the message names besides the file. */
  readonly where: string
  readonly exitCode: number
  /** The tests that provoke them. */
  readonly heldBy: ReadonlyArray<string>
  /** What to do, unless the code says otherwise. */
  readonly remedy: string
  /** Code without the prefix → what happened, and what else to do. */
  readonly codes: Readonly<Record<string, string | readonly [happened: string, remedy: string]>>
}

const json = {
  "bom": "begins with a byte order mark",
  "control-character": "a raw control character in a string",
  "depth": "nested too deeply",
  "duplicate-key": "a key stands twice in one object, so that two readers may see two documents",
  "lone-surrogate": "half of a surrogate pair",
  "non-finite": "NaN or Infinity, which JSON does not have",
  "number-range": "a number too large for a double",
  "syntax": "not JSON",
  "too-large": "larger than what is read",
  "too-many-values": "more values than are read",
  "trailing": "something after the document",
  "utf8": "not UTF-8"
} as const

const prefixed = (prefix: string, codes: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(codes).map(([code, text]) => [prefix + code, text]))

const AGAIN = "Get the file again; compare its size and hash with the publisher's."
const SAVE_AGAIN = "Copy or save the checkpoint again; `doctor` says what else is wrong with it."

export const catalogue: ReadonlyArray<Area> = [
  {
    prefix: "usage/",
    heldBy: ["tests/errors.test.ts", "tests/cli/cli.test.ts", "tests/setup/setup.test.ts", "tests/adapters/facts.test.ts", "tests/remote/names.test.ts"],
    title: "Flags and options",
    where: "the flag",
    exitCode: 2,
    remedy: "`--help` shows what there is.",
    codes: {
      "alpha": ["nothing says the alpha by which adapters are scaled", "Give the one that they were trained with: `--alpha N`."],
      "flags": "flags that contradict each other, or a value out of its range",
      "place": "an address that is none",
      "assembly": "parts of a model that do not make one: missing, unknown, of other widths; the message says which there are",
      "layout": "a layout that the model, or a trainer, cannot have; the message names both numbers",
      "unmerge": ["a merge that would have to be undone: merged weights are rounded, so the base cannot be had from them", "Keep the base."],
      "training": ["a setting of a run that the trainer accepts and does not do, or does too late; the message has the rule and what the trainer does", "The message says what to ask for instead."]
    }
  },
  {
    prefix: "launch/",
    heldBy: ["tests/cluster/launch.test.ts", "tests/cluster/Coordinator.test.ts", "tests/convert/stagingFolder.test.ts", "tests/convert/orders.long.test.ts"],
    title: "Who is who in a job of several processes",
    where: "the flags and variables",
    exitCode: 2,
    remedy: "Correct the flags or the launcher's settings; starting again without that ends the same way.",
    codes: {
      "contradiction": "two of flags, our variables and the launcher's variables say different things of the same; the message names both",
      "listen": ["a server of weights cannot listen at that address", "Name another with `--listen HOST:PORT`."],
      "incomplete": "a rank without a number of processes, or the reverse",
      "not-shared": ["a host does not see what rank 0 has written: the target is not on a file system that all hosts share", "Write to a directory that all hosts of the job see under the same path."],
      "plan": "a process would do something else than rank 0: it was given other options, or it sees another source",
      "source": ["a process sees another source than rank 0, which has planned for all: another length or another beginning of a file", "Let all processes read the same files, or equal copies of them."],
      "no-ws": ["the package `ws`, through which weights are streamed and processes of a job speak, is not installed", "`npm install ws`. Processes of a job can do without it: `--rendezvous file`."],
      "run": "a process of another job came to this one's coordinator",
      "tls": "no certificate could be made or read",
      "token": "no token was given, others can read it, or the coordinator does not know it",
      "version": "processes of one job run two versions of this program",
      "world": "processes of one job were told of different numbers of processes",
      "value": "a variable that is no number, a rank outside its world, or a name that is none"
    }
  },
  {
    prefix: "cluster/",
    heldBy: ["tests/cluster/Coordinator.test.ts", "tests/convert/orders.long.test.ts"],
    title: "Processes that lose each other",
    where: "ranks and hosts",
    exitCode: 8,
    remedy: "Start the job again with `--resume`.",
    codes: {
      "coordinator-lost": "rank 0 ended or gives no sign of life",
      "duplicate": "another process has this rank: two pods of one index, or one that an earlier attempt left behind",
      "listen": ["rank 0 cannot listen at that address", "Name another with `--rendezvous HOST:PORT`, or `--rendezvous file`, for which nobody listens."],
      "join": "processes did not join in time; the message names them",
      "lost": "a process ended without a word, or gives no sign of life",
      "orders": ["the work orders in the staging folder are not what rank 0 has written, or say what cannot be done", "All processes must see one folder, and nothing else may write into it; start again with `--resume`."],
      "order": ["members of a group are not at the same step", "Report it."],
      "protocol": ["a message that this version does not know", "See that all processes run the same version; else report it."],
      "report": "what the processes wrote down of their work is not the whole: on the shared file system something was lost",
      "superseded": "a newer attempt of the job runs",
      "timeout": "a step was not complete in time; the message names who is missing",
      "too-large": ["values that are too large to be exchanged", "Report it."]
    }
  },
  {
    prefix: "stream/",
    heldBy: ["tests/serve/stream.test.ts"],
    title: "Streams of weights",
    where: "the server's address and what is asked of it",
    exitCode: 2,
    remedy: "Ask for what there is; the message names it.",
    codes: {
      "changed": ["the weights are not those that the stream began with, or the server was started with", "Start the server again, and the stream from its beginning."],
      "component": "a component that the model does not have",
      "name": "a tensor whose name is too long for the protocol",
      "protocol": ["the server does not know what it was asked", "See that both run the same version."],
      "shard": ["a tensor cannot be cut for so many ranks, or how it is cut is not known", "Take whole tensors, or stream from the Megatron checkpoint."],
      "tensors": "a pattern that no tensor matches",
      "token": ["the server does not know the token", "`MEGATRON_MIMO_TOKEN`, or `MEGATRON_MIMO_TOKEN_FILE`, must hold the server's."]
    }
  },
  {
    prefix: "stream/",
    heldBy: ["tests/serve/stream.test.ts"],
    title: "Streams of weights that break off",
    where: "the server's address",
    exitCode: 8,
    remedy: "Look at the server; then begin the stream again.",
    codes: {
      "broken": "the connection ended and could not be made again, or what came was not what the server announced"
    }
  },
  {
    prefix: "peer/",
    heldBy: ["tests/errors.test.ts"],
    title: "Other processes of the job",
    where: "rank, host and what failed there",
    exitCode: 9,
    remedy: "Look at the process that is named; this one only followed.",
    codes: { "failed": "another process of the job failed first, and this one stopped for it" }
  },
  {
    prefix: "unsupported/",
    heldBy: ["tests/recognise/recognise.test.ts", "tests/errors.test.ts", "tests/forward/refusals.test.ts"],
    title: "Sound, but not done here",
    where: "what it is",
    exitCode: 4,
    remedy: "The message says what there is instead, or the next step.",
    codes: {
      "adapter": "an adapter of a kind, or with parts (biases, whole tensors), that an adapter of the trainer has no place for",
      "architecture": "no family answers to the model's class",
      "backend": "a checkpoint in another format than torch_dist",
      "engine-checksums": ["an engine that gives no checksums of its weights, or none now", "`doctor --engine` says what it has; vLLM gives them with VLLM_SERVER_DEV_MODE=1, and while it is not paused."],
      "implied-config": ["no config.json follows from what a checkpoint says of its model", "Name the model with --hf-model; its config.json alone is enough."],
      "rollout-version": ["a version of weights in an encoding, compression or checksum that is not known", "Publish it with `publish`, or pull it with the engine's own receiver."],
      "rollout-weights": ["pickled weights are not published for engines", "Load them with transformers and write them with save_pretrained(DIR), which writes safetensors."],
      "layer-spec": ["layers that the arguments of a run do not describe", "Name a model of the same layers with --hf-model."],
      "forward": ["a decoder that computes what the forward check does not know: recurrences, indexers, gates of attention", "Compare the weights (`verify`) instead."],
      "compute": ["no form of TensorFlow.js can be loaded; the message says why for each", "Install one, or `--compute simd`, which needs nothing."],
      "copy": "a rearrangement that the engine does not do",
      "legacy": "a legacy checkpoint: one pickle for each model-parallel rank",
      "plain-dcp": "a checkpoint of plain DCP (fsdp_dtensor, torch_dcp), where more than its weights is asked for, or its names do not say which part of the model a tensor is",
      "mimo": "a model of one component, which has no MIMO form",
      "optimizer": ["optimizer state in a form that only the layout that saved it can load", "Save it with --dist-ckpt-optim-fully-reshardable, or leave it behind: --drop optimizer."],
      "other": "anything else",
      "quantised": "quantised values that would have to be changed once more",
      "strided-codes": ["codes or scales of a quantised tensor in a pickled file do not lie side by side", "Write the model as safetensors."],
      "publisher-form": ["consolidated weights whose way to the names and order of transformers is not public: another model, or a tensor that no script has", "Take the directory in the format of transformers."],
      "recognised": "an adapter, a quantisation, a wrapper's names or another program's format, told by its names",
      "relabel": "a naming that has no exact equivalent",
      "tokenizer": ["a text, where there is no tokenizer.json or the package that reads it is not installed", "Give the tokens by their ids (`--tokens`)."]
    }
  },
  {
    prefix: "space/",
    heldBy: ["tests/errors.test.ts", "tests/torture/torture.long.test.ts"],
    title: "Room",
    where: "the target",
    exitCode: 6,
    remedy: "Make room, then `--resume`.",
    codes: { "full": "the file system or the quota is full, or will be" }
  },
  {
    prefix: "output/",
    heldBy: ["tests/publish/target.test.ts", "tests/publish/swap.test.ts", "tests/publish/Lock.test.ts", "tests/publish/neighbours.test.ts"],
    title: "The target cannot be written",
    where: "the target",
    exitCode: 5,
    remedy: "Name another target.",
    codes: {
      "appeared": ["something was put at the target while the work went on; it was left alone", "`--resume --overwrite` replaces it without doing the work again."],
      "changed": ["the target, which `--overwrite` was to replace, is no longer what it was when the work began: something came to be in it or went out of it, or another directory is there; it was left as it is", "Look at it. `--resume` goes on with the work that is done, and replaces what is there now only with `--overwrite`."],
      "dangling-link": "the target is a link to something that does not exist",
      "disturbed": ["another program changed, removed or added files in the staging folder while the work went on; nothing was published", "Find out which one; `--resume` keeps what is intact."],
      "exists": ["the target exists and is not empty", "`--overwrite` replaces it once the new one is complete."],
      "foreign-staging": ["what has the name of the target's staging folder (`.NAME.partial`) is a link, was made by another program or another version of this one, or holds something that this program did not put there; it was left alone", "Look at what it is, then move or remove it; or name another target."],
      "holds-source": "the target is, or contains, what is being read",
      "inside-source": "the target lies inside what is being read",
      "lock-lost": ["the staging folder was taken over, moved or removed by another program while this process worked in it; nothing was published", "Find out who works on this target, then run the command again."],
      "locked": ["another process is writing this target; the message names it", "Wait for it or end it. Where nobody can tell whether it runs (another host, another container) it is watched for a minute, and its lock is taken over if it gives no sign of life."],
      "not-a-copy": ["a directory that versions are pulled into holds files of somebody else", "Name a directory that is empty or does not exist yet."],
      "mount-point": ["the target is a mount point or the root, over which nothing can be renamed", "Name a folder inside it."],
      "not-private": ["`--private` was said, and the repository on the Hub exists and is public", "Leave the flag away, name another repository, or change that one on the Hub."],
      "read-only": ["the target is a place that is only read, such as `https://`", "Directories, `s3://bucket/prefix` and `hf://Org/Name` are written."],
      "not-a-directory": "the target, or something above it, exists and is not a directory",
      "not-replaceable": ["`--overwrite` was given, but what is there is no checkpoint or holds other iterations of a training run", "Name another target, or remove it yourself."],
      "other-job": ["`--resume`, but the sources, options or version are not those of the interrupted run; the message names what changed", "Run without `--resume` to start over."],
      "unfinished": ["a replacement was interrupted, and its new content is gone; the former content lies in the staging folder", "Move it back or remove it."]
    }
  },
  {
    prefix: "file/",
    heldBy: ["tests/hostile/commandLine.long.test.ts", "tests/io/specials.test.ts", "tests/safetensors/SafetensorsDirectory.test.ts"],
    title: "Files and paths",
    where: "nothing else",
    exitCode: 3,
    remedy: "Check the path.",
    codes: {
      "dangling-link": "a link to something that does not exist",
      "link-loop": "a link that leads back to itself",
      "missing": "there is nothing by that name",
      "name-encoding": ["a side file whose name is not UTF-8", "Rename it, or take it out of the directory."],
      "not-regular": "a pipe, socket, device or directory where a file should be, or beside the weights; it is never opened. Take it out of the directory.",
      "too-large": "a small file (config, tokenizer, tracker) is larger than such files are"
    }
  },
  {
    prefix: "hub/",
    heldBy: ["tests/remote/names.test.ts", "tests/remote/hub.test.ts"],
    title: "Models of the Hub",
    where: "what was looked at, or what the Hub says",
    exitCode: 3,
    remedy: "Where it happens while a model is read the exit code is 7. Download the model with the command that the message names, or name a directory.",
    codes: {
      "answer": ["the Hub answers with something that its interface does not have, or that contradicts what it said before", "Run it again; if HF_ENDPOINT names a mirror, ask without it."],
      "content": ["the bytes of a file do not have the sum (SHA-256, or git's SHA-1) that the Hub lists", "Run it again; a mirror or a proxy that does this is broken."],
      "endpoint": ["HF_ENDPOINT is no address", "Set it to one, or not at all."],
      "entry-not-found": ["the repository has no such file at this revision", "Its page on the Hub shows what there is."],
      "gated": ["the authors give the model to those who accept their terms", "Accept them on the model's page, and have a token sent: HF_TOKEN, or `hf auth login`."],
      "no-access": ["the Hub refuses the token, or wants one", "HF_TOKEN, or `hf auth login`."],
      "not-found": "neither a directory nor a cached model has this name, and the Hub was not, or could not be, asked",
      "offline": ["the model is not cached, and HF_HUB_OFFLINE forbids to ask the Hub", "Download it where that is allowed, or unset the variable."],
      "repository-not-found": ["the Hub has no model of this name, or it is private and no token for it was sent", "Check the name; for a private one set HF_TOKEN."],
      "revision-not-found": ["the repository has no such branch, tag or commit", "Its page on the Hub shows what there is."],
      "ref": ["a ref of the cache names no commit", "Remove the cached repository and download it again."],
      "revision-not-cached": "the repository is cached, this revision of it is not"
    }
  },
  {
    prefix: "place/",
    heldBy: ["tests/remote/hub.test.ts"],
    title: "Addresses",
    where: "the address",
    exitCode: 7,
    remedy: "`hf://Org/Name[@revision][/path]`, `https://…` and `s3://bucket/prefix` are addresses.",
    codes: {
      "hub": "what follows `hf://` is no repository of the Hub",
      "peer": ["the package that reads such places is not installed", "The message has the command that installs it."],
      "s3": "what follows `s3://` is no bucket",
      "unknown": "nothing here reads this kind of address"
    }
  },
  {
    prefix: "source/",
    heldBy: ["tests/convert/resume.test.ts", "tests/torture/torture.long.test.ts"],
    title: "Sources",
    where: "nothing else",
    exitCode: 3,
    remedy: "Run it again when nobody writes there.",
    codes: { "changed": "a file was changed while it was converted; nothing was published" }
  },
  {
    prefix: "integrity/",
    heldBy: ["tests/convert/integrity.test.ts"],
    title: "Checksums (`.checksums.json`)",
    where: "nothing else",
    exitCode: 3,
    remedy: "Write the checkpoint again.",
    codes: {
      "damaged": "the checksums themselves are damaged",
      "not-a-directory": "not a directory",
      "no-checksums": ["`verify --deep` of something that was written without checksums", "`import` writes them, `export` does with `--checksum`; `verify A B` compares two checkpoints."]
    }
  },
  {
    prefix: "plan/",
    heldBy: ["tests/convert/convert.test.ts", "tests/plan/vocabulary.test.ts", "tests/convert/biases.test.ts", "tests/families/accounting.long.test.ts"],
    title: "The plan does not account for every byte",
    where: "the tensors",
    exitCode: 3,
    remedy: "Check that config.json belongs to these weights.",
    codes: {
      "contradicting-rows": ["two mapping rows expect different shapes of one tensor: the family's table is wrong", "Report it."],
      "coverage": ["the mapping would not write every byte exactly once: the family's table is wrong", "Report it."],
      "dtypes": "values of these dtypes cannot be stored together, or are no weights",
      "repeats-differ": ["training made rows differ that repeat one Hugging Face tensor", "--allow-unmapped with their names writes the first of them."],
      "grown": ["training changed parameters that an import fills with zeros and the Hugging Face model does not have", "Freeze them in training."],
      "missing": "tensors that config.json implies are not there",
      "mtp-required": ["`--mtp require`, but multi-token prediction is not there", "`--mtp keep`, or `--mtp-from` on export."],
      "parameter-without-row": ["a parameter that no mapping row claims: the family's table is incomplete", "Report it."],
      "shape": "a tensor contradicts config.json",
      "unmapped": ["tensors that nothing claims", "`--allow-unmapped PATTERN` leaves them behind on purpose; the report lists them."],
      "vocabulary": ["stored rows beyond the vocabulary of config.json, which the checkpoint or a tokenizer calls vocabulary", "`--vocab-size N` says how many rows are exported."]
    }
  },
  {
    prefix: "family/",
    heldBy: ["tests/api/familyFiles.test.ts"],
    title: "Family files (`--family`)",
    where: "what the file has instead",
    exitCode: 3,
    remedy: "Mend the file; [adding-a-family.md](adding-a-family.md) shows a whole one.",
    codes: {
      "claimed": ["two family files answer to one architecture", "Name one of them."],
      "failed": "the code of the file failed, or described a model by halves, when it was asked about this one",
      "no-family": "the module exports no family and no routes",
      "not-a-family": "an export looks like a family, or like routes, and lacks a field",
      "not-loaded": "the module cannot be loaded: its syntax, an import that is not there, or no file"
    }
  },
  {
    prefix: "config/",
    heldBy: ["tests/families/random.long.test.ts", "tests/routes/biases.test.ts", "tests/hostile/huggingFace.long.test.ts"],
    title: "config.json",
    where: "the field",
    exitCode: 3,
    remedy: "Get the config that belongs to the weights.",
    codes: {
      "activation": "an activation that the family does not know",
      "biases": ["biases for which the trainer's model has no place: carried along, they would not be trained", "Use a model without them."],
      "block": "a block of a pruned model without its sizes",
      "indexer": "the sparse attention's indexer pattern makes no sense",
      "indivisible": "a size that does not divide by another as it must",
      "assembly": "a part of a model that is put together is none: a model of several components, or no language model among them",
      "language-model": "a multimodal model around a language model that is not known",
      "layers": "a list that does not fit the number of layers",
      "missing": "a field that this kind of layer needs is not there",
      "mixed-experts": "some experts are packed and some stored one by one",
      "mixed-names": "tensors follow two naming conventions at once",
      "mtp": "multi-token prediction in a form that is not known",
      "no-architecture": "`architectures[0]`, which says which model it is, is missing",
      "no-experts": "a mixture of experts without a number of experts",
      "not-an-object": "not an object",
      "not-plain": "a value that cannot be handed to the trainer",
      "sizes": "sizes that make no model",
      "vision-model": "a multimodal model around a vision tower that is not known",
      "too-many-parts": "sizes that would make more parameters than any model has"
    }
  },
  {
    prefix: "document/",
    heldBy: ["tests/document/decode.test.ts", "tests/document/position.test.ts"],
    title: "Documents",
    where: "the fields",
    exitCode: 3,
    remedy: "Get the file that belongs to the weights.",
    codes: { "shape": "fields are missing, or of another kind than they must be" }
  },
  { prefix: "json/", title: "JSON", heldBy: ["tests/document/StrictJson.test.ts", "tests/document/decode.test.ts"], where: "the byte", exitCode: 3, remedy: AGAIN, codes: { ...json, "reserved-key": "the key `__proto__`", "other-format": "another format behind the name" } },
  {
    prefix: "remote/",
    heldBy: ["tests/safetensors/ranges.test.ts"],
    title: "Files read by range requests (library only)",
    where: "the address without its query, byte",
    exitCode: 3,
    remedy: "Look at what the server answers to a request with `Range`.",
    codes: {
      "changed": ["the file was replaced while it was read (its size or ETag changed)", "Open it again."],
      "no-ranges": ["the server sends the whole file, whatever range is asked for", "Download the file, or serve it from one that answers 206."],
      "no-size": ["the answer does not say how large the file is", "In a page, the server must send `Access-Control-Expose-Headers: Content-Range`."],
      "range": "the server sent another range than the one asked for",
      "short": ["fewer (or more) bytes came than were promised", "Try again."],
      "status": "the server answered something other than 206 (404: not there; 401, 403: a token is needed; 416: the file is empty)"
    }
  },
  {
    prefix: "safetensors/",
    heldBy: ["tests/hostile/huggingFace.long.test.ts", "tests/safetensors/Header.test.ts", "tests/safetensors/ShardIndex.test.ts", "tests/safetensors/SafetensorsDirectory.test.ts"],
    title: "safetensors files and their index",
    where: "tensor, byte",
    exitCode: 3,
    remedy: AGAIN,
    codes: {
      "ambiguous": ["several files could be the checkpoint", "Name the file or its index."],
      "changed": "the file is not the one whose header was read",
      "data-length": ["the data given for a tensor does not fit its shape (writer)", "Give as many bytes as the shape says."],
      "data-truncated": "the header places data beyond the end of the file: an incomplete download",
      "dtype": "a dtype that the format does not have",
      "entry-not-object": "a tensor's entry is not an object",
      "file-too-short": "fewer than the eight bytes that every file begins with",
      "header-empty": "a header without content",
      "header-not-object": "the header is not an object",
      "header-truncated": "the header is longer than the file",
      ...prefixed("header-", json),
      "headers-too-large": "all headers together are larger than what is read",
      "hole": "bytes of data that no tensor has",
      ...prefixed("index-", json),
      "index-metadata": "the index's metadata is not an object",
      "index-missing-tensor": "the index names a tensor that its shard does not have",
      "index-not-object": "the index is not an object",
      "index-shard-name": "the index names a shard that is no plain file name inside the directory",
      "index-unlisted-tensor": "a shard has a tensor that the index does not list",
      "index-weight-map": "the index has no weight_map of names to files",
      "integer-too-large": "a size or offset beyond 2^53",
      "link-escapes": "a link that leads out of the model's directory",
      "metadata": "`__metadata__` is not a table of strings",
      "missing-field": "a tensor's entry lacks a field",
      "two-models": "a directory holds shards with an index and a whole model.safetensors beside them",
      "missing-shard": "a shard that the index names is not there",
      "name-not-unicode": "a name that has no UTF-8 form (writer)",
      "name-too-long": "a tensor's name is longer than any real one",
      "name-taken": "two tensors of one name (writer)",
      "no-such-tensor": ["there is no tensor of that name (reader)", "Check the name."],
      "no-weights": "a directory without safetensors weights",
      "not-a-directory": "neither a directory nor a safetensors file",
      "not-a-file": "not a regular file",
      "not-an-array": "a shape or offsets that are not a list",
      "not-unsigned": "a size or offset that is not a non-negative integer",
      "offset-count": "offsets that are not two numbers",
      "offsets-reversed": "a tensor that ends before it begins",
      "other-format": ["another format behind the name", "Convert it to safetensors first."],
      "overlap": "two tensors on the same bytes",
      "size-mismatch": "offsets that do not fit shape and dtype",
      "size-overflow": "a shape of more than 2^53 bytes",
      "sub-byte": "a tensor whose bits do not fill whole bytes",
      "too-many-tensors": "more tensors than any model has",
      "trailing-data": "bytes after the last tensor"
    }
  },
  {
    prefix: "publisher/",
    heldBy: ["tests/space/publishedWeights.test.ts"],
    title: "Consolidated weights",
    where: "the tensor",
    exitCode: 3,
    remedy: "Check that params.json belongs to the weights.",
    codes: {
      "heads": "rows of queries or keys that are not of so many heads"
    }
  },
  {
    prefix: "quantized/",
    heldBy: ["tests/space/HfWeights.test.ts", "tests/quantized/blocks.test.ts", "tests/quantized/BlockQuantizer.test.ts"],
    title: "Quantised weights",
    where: "the tensor",
    exitCode: 3,
    remedy: "Check that all shards belong to one model.",
    codes: {
      "config": "quantization_config makes no sense",
      "no-activation-scale": "a static activation scale is missing",
      "no-scales": "codes without scales",
      "no-shape": "packed codes without the shape they unpack to",
      "not-blockwise": "a tensor that has no blocks of floats, asked for as FP8 codes",
      "not-finite": "an infinity or NaN, asked for as FP8 codes",
      "packed-dtype": "packed codes in a dtype that cannot hold them",
      "packed-shape": "packed codes of a shape that nothing packs to",
      "scale-dtype": "scales of a dtype that scales do not have",
      "scale-shape": "scales whose shape does not fit the codes",
      "stray-scales": "scales that belong to nothing",
      "twice": "a tensor both quantised and as values",
      "two-scales": "two kinds of scales for one tensor",
      "unsupported": ["a quantisation with parts that are not known here", "Dequantise the model with its own tools first."]
    }
  },
  {
    prefix: "arguments/",
    heldBy: ["tests/arguments/arguments.test.ts"],
    title: "Arguments of a Megatron-LM run",
    where: "the argument",
    exitCode: 3,
    remedy: "Name a model with --hf-model: what a run's arguments say is then not needed.",
    codes: {
      "missing": "an argument is not there without which no model can be described",
      "value": "an argument has a value of another kind than the trainer gives it"
    }
  },
  {
    prefix: "checkpoint/",
    heldBy: ["tests/hostile/megatron.long.test.ts", "tests/inspect/inspect.test.ts"],
    title: "Megatron checkpoint directories",
    where: "tensor or field",
    exitCode: 3,
    remedy: SAVE_AGAIN,
    codes: {
      "backend": "metadata.json does not say which format the checkpoint has",
      "chunk-shape": "a stored tensor has another shape than `.metadata` says",
      "crc": "the data of a stored tensor does not match the CRC-32 that it was stored with",
      "common-state": "the common state makes no sense",
      "common-state-size": "a common state larger than what is read",
      "dtype": "a stored tensor has another dtype than `.metadata` says",
      "duplicate-key": "two entries are the same once `module.` is removed",
      "flattened": "optimizer state in flat fragments that are none of its model tensor",
      "groups": "parameter groups that hold nothing, or more than is read",
      "link-escapes": "a link that leads out of the checkpoint",
      "missing-file": "a data file that `.metadata` names is not there",
      "no-backend": "metadata.json is missing",
      "no-common-state": "neither common.pt nor the common_state entry is there",
      "no-metadata": "`.metadata` is missing: the save was interrupted or the copy is incomplete",
      "no-tracker": ["no tracker says which iteration is complete", "Name the iter_* folder itself."],
      "not-a-checkpoint": "neither `.metadata` nor an iter_* folder is there",
      "not-a-directory": "not a directory",
      "not-a-file": "a data file is not a regular file",
      "rank-disagrees": ["two ranks of a torch checkpoint hold different values, or kinds, of a tensor that they have in common", "Which of them is right only the trainer can know; load an earlier iteration."],
      "rank-experts": ["the experts that the ranks of a torch checkpoint hold are not those of one model", "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist."],
      "rank-file": "a rank's file holds no model",
      "rank-iteration": "a rank's file is of another iteration than the others",
      "rank-layers": "the layers of all ranks are not those of one model",
      "rank-layout": "a rank was saved with other parallel sizes than the others, or with sizes whose files overwrite each other",
      "rank-missing": "the folder of a rank, or its file, is not there",
      "rank-shapes": "slices of a tensor on several ranks do not add up",
      "rank-split": ["nothing says how ranks divide a tensor", "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist."],
      "rank-tensor": "a rank lacks a tensor that others have",
      "rank-unexpected": "a folder of a rank that the layout does not have",
      "tracker": "the tracker names no iteration, or one that is not there",
      "trackers-disagree": "the two trackers name different iterations"
    }
  },
  {
    prefix: "dcp/",
    heldBy: ["tests/torch/DcpCheck.test.ts", "tests/torch/DcpMetadata.test.ts"],
    title: "`.metadata` of a Megatron checkpoint",
    where: "the tensor",
    exitCode: 3,
    remedy: SAVE_AGAIN,
    codes: {
      "beyond-file": "data placed beyond the end of its file",
      "class": "something is of another class than it must be",
      "dtype": "a dtype that is not known here",
      "duplicate-key": "a key stands twice",
      "duplicate-storage": "a chunk or object is stored twice",
      "field": "a part of the document is missing",
      "file-name": "data in a file outside the checkpoint",
      "flattened": "flattened fragments of tensors, which cannot be written",
      "half": "gate and up rows that are stored apart, of which one is missing or has another shape",
      "hole": "elements that no chunk holds",
      "integer": "a size or offset that is not a non-negative integer below 2^53",
      "irregular": "chunks cut too irregularly to be checked",
      "layout": "a tensor that is not strided",
      "limit": "more tensors or chunks than are read",
      "no-file": "data in a file that is missing",
      "no-storage": "a chunk or object that is stored nowhere",
      "object-key": "an object whose key has another form than Megatron's",
      "outside": "a chunk that leaves its tensor",
      "overlap": "two chunks on the same elements",
      "rank": "a chunk of another rank than its tensor, or too many axes",
      "shared-bytes": "two items on the same bytes",
      "stray-storage": "data of chunks that no tensor has",
      "too-large": "a tensor of more elements than can be counted",
      "transformed": ["items stored compressed or encrypted", "Save without transforms."]
    }
  },
  {
    prefix: "distcp/",
    heldBy: ["tests/hostile/megatron.long.test.ts", "tests/hostile/corpus/megatronBadTables.ts"],
    title: "Single `.distcp` files",
    where: "the byte",
    exitCode: 3,
    remedy: SAVE_AGAIN,
    codes: {
      "no-archive": "bytes that are no torch.save archive",
      "too-many": "more items than are listed"
    }
  },
  {
    prefix: "pickle/",
    heldBy: ["tests/torch/Pickle.test.ts", "tests/hostile/megatron.long.test.ts"],
    title: "Pickles: read, never run",
    where: "the byte",
    exitCode: 3,
    remedy: "Do not load the file with anything that runs pickles. Get it from its author again.",
    codes: {
      "global": "the pickle refers to something that this kind of file has no use for; the message names it",
      "integer": "an integer that is not exact",
      "limit": "larger, deeper or hungrier than such files are",
      "memo": "a reference to something that was never stored",
      "opcode": "an opcode that neither torch nor Megatron writes",
      "protocol": "not a pickle of protocol 2 to 5",
      "stack": "opcodes that do not fit together",
      "text": "a string that is not UTF-8",
      "trailing": "bytes after the end",
      "truncated": "the pickle ends too early",
      "type": "a value of another kind than the opcode needs",
      "walk": "a value too large or too deep"
    }
  },
  {
    prefix: "zip/",
    heldBy: ["tests/torch/Zip.test.ts"],
    title: "torch.save archives",
    where: "record, byte",
    exitCode: 3,
    remedy: SAVE_AGAIN,
    codes: {
      "bounds": "records that overlap or leave the archive",
      "compressed": "a compressed record; torch only stores",
      "crc": "a record whose content does not match its CRC-32",
      "directory": "the archive's directory makes no sense",
      "disks": "an archive that spans disks",
      "duplicate": "two records of one name",
      "encrypted": "an encrypted record",
      "limit": "more or larger records than are read",
      "local-header": "a record's own header contradicts the directory",
      "no-end": "the archive is cut short, or something was added to it",
      "not-zip": "not an archive",
      "short-read": "the file ends too early",
      "size": "a record that lies about its size",
      "zip64": "64-bit sizes that make no sense"
    }
  },
  {
    prefix: "tokenizer/",
    heldBy: ["tests/forward/tokenizer.test.ts"],
    title: "Tokenizers",
    where: "the file",
    exitCode: 3,
    remedy: "Give the tokens by their ids (`--tokens`).",
    codes: { "invalid": "a tokenizer.json that `@huggingface/tokenizers` does not understand" }
  },
  {
    prefix: "torch/",
    heldBy: ["tests/torch/TensorItem.test.ts", "tests/torch/ObjectItem.test.ts"],
    title: "What torch.save archives hold",
    where: "the record",
    exitCode: 3,
    remedy: SAVE_AGAIN,
    codes: {
      "before-zip": "a file of torch.save without an archive (torch before 1.6) that does not hold together",
      "bounds": "a view that leaves its storage",
      "byte-order": "big-endian data",
      "data-size": "a storage of another size than its tensor needs",
      "dtype": "a dtype that is not known here, or that torch does not have",
      "no-data": "the record with the data is missing",
      "no-pickle": "no data.pkl: not an archive of torch.save",
      "object": "not a stored object",
      "safetensors": ["a safetensors file by the name of a pickled one", "Rename it to model.safetensors."],
      "several-pickles": "several data.pkl",
      "state-dict": ["a file by the name of a model's weights holds something else, e.g. a training state", "Name the directory with the model."],
      "shape": "no shape of a tensor (writer)",
      "tensor": "not a tensor",
      "train-state": "not a train state",
      "value": "a value that cannot be written (writer)",
      "version": "a version of the format that torch does not know"
    }
  },
  {
    prefix: "run-config/",
    heldBy: ["tests/runconfig/RunConfigFile.test.ts"],
    title: "run_config.yaml",
    where: "field, byte",
    exitCode: 3,
    remedy: "Get the file that the trainer wrote. Its `_target_` entries are data here: nothing is run.",
    codes: {
      "adapters": "a `peft` section of a class that is not known, or with a value that no adapter can have",
      "aliases": "more aliases than are followed, or one that stands for nothing",
      "depth": "nested too deeply",
      "duplicate-key": "a key stands twice",
      "integer": "an integer beyond 2^53",
      "key": "a key that is not a plain scalar",
      "layers": "a number of layers that cannot be split",
      "no-model": "no section `model`",
      "no-provider": "no provider of the standard model",
      "not-a-mapping": "not a mapping",
      "syntax": "not YAML",
      "too-large": "larger than what is read",
      "too-many-values": "more values than are read"
    }
  },
  {
    prefix: "adapter/",
    heldBy: ["tests/adapters/refusals.test.ts", "tests/adapters/ModulePattern.test.ts"],
    title: "Adapters",
    where: "key or module",
    exitCode: 3,
    remedy: "The message says what does not fit. `inspect` lists what is there.",
    codes: {
      "dora": "row lengths of DoRA that are not there, or that one side has no place for",
      "dtype": "values of an adapter in a dtype that is not computed with",
      "experts": "experts that are one tensor of one side, of which some have no adapter, or one of another rank",
      "form": ["a weight that the trainer's canonical class cannot adapt", "`--adapter-form lora` stores one adapter for it, of a larger rank."],
      "half": "one matrix of an adapter without the other",
      "hole": "a part of an adapter's matrix that no chunk holds",
      "module": ["a module that the base model does not have as a linear layer", "Name the base model that the adapter was trained on."],
      "no-config": "no adapter_config.json, which has rank and alpha",
      "none": ["no adapter at all", "`export` is for checkpoints of whole models."],
      "pattern": ["a pattern of rank_pattern or alpha_pattern that is not understood, so that scales would be wrong", "Write module paths instead, or classes with `*`, `+` and `?`; groups with `|`."],
      "scale": ["adapters that one adapter of the trainer would have to be, with scales of which no power of two makes one the other", "`--adapter-form canonical`, or train again with one alpha and rank."],
      "shape": "matrices that do not fit the base model's"
    }
  },
  {
    prefix: "average/",
    heldBy: ["tests/reshard/trainingFolder.test.ts"],
    title: "merge-iterations",
    where: "names",
    exitCode: 3,
    remedy: "Average iterations of one run.",
    codes: {
      "unlike": "iterations that do not hold the same tensors"
    }
  },
  {
    prefix: "prune/",
    heldBy: ["tests/reshard/trainingFolder.test.ts"],
    title: "prune",
    where: "path",
    exitCode: 3,
    remedy: "Nothing was removed.",
    codes: {
      "no-iterations": ["a directory without iterations", "Name the training folder, the one that holds iter_* folders."],
      "too-deep": "folders in folders, deeper than any checkpoint has",
      "tracker": ["a tracker that names no training step", "Mend the tracker, so that it names the iteration that must stay."]
    }
  },
  {
    prefix: "rollout/",
    heldBy: ["tests/rollout/versions.test.ts", "tests/rollout/crashes.test.ts", "tests/rollout/receivers.ts"],
    title: "Versions of weights",
    where: "the file and the tensor",
    exitCode: 3,
    remedy: "Publish a full version (`publish --full`); a copy is made anew with `pull --fresh`.",
    codes: {
      "checksum": "a tensor is not what its version says once the delta is applied",
      "damaged": "a file of a version has other bytes than its index says",
      "frame": "what should be the zstd frame of a delta is none, or of another size",
      "missing-version": "a version that is asked for, or that others are built on, is not there",
      "no-base": "a delta that is built on no earlier version",
      "no-checksum": "a delta that does not say the sum of a tensor",
      "no-full-version": "no full version leads to the one that is asked for",
      "no-versions": "a folder without versions",
      "not-a-frame": "a delta that holds something else than vectors of bytes",
      "other-layout": "tensors of other names, dtypes or shapes than the version before",
      "out-of-order": "a delta for another version than the copy is",
      "overwrite-size": "more changes than the encoding overwrite is made for",
      "shard-name": "an index that places tensors outside its directory",
      "swapped": "a version under the name of another",
      "torn": "a tensor that was changed in part, and cannot be made anew",
      "wrong-base": "a copy, or a source, that is not what a delta was made against"
    }
  },
  {
    prefix: "relabel/",
    heldBy: ["tests/relabel/relabel.test.ts"],
    title: "relabel",
    where: "the keys",
    exitCode: 3,
    remedy: "Check what the checkpoint holds with `inspect`.",
    codes: {
      "collision": "two entries would have the same key",
      "link-escapes": "a link that leads out of the checkpoint",
      "too-many-files": "more files beside the data than checkpoints have"
    }
  },
  {
    prefix: "inspect/",
    heldBy: ["tests/inspect/inspect.test.ts"],
    title: "inspect, diff",
    where: "nothing else",
    exitCode: 3,
    remedy: "Name a directory with weights, an iter_* folder, or a single file.",
    codes: { "unknown": "nothing that is known by its content or name" }
  },
  {
    prefix: "mimo/",
    heldBy: ["tests/mimo/routes.test.ts", "tests/mimo/recognise.test.ts"],
    title: "Route tables",
    where: "the names",
    exitCode: 3,
    remedy: "Report it; for a family of your own, check its components.",
    codes: { "route-table": "components that overlap, leave parameters out, or are named twice" }
  },
  {
    prefix: "conformance/",
    heldBy: ["tests/conformance/Case.test.ts"],
    title: "Conformance cases",
    where: "the field",
    exitCode: 3,
    remedy: "Get the case again.",
    codes: {
      "case": "not a conformance case",
      "dtype": "a dtype for which the weight scheme has no values",
      "json": "not JSON"
    }
  }
]

/** Errors that are told apart by their kind alone. */
export const kinds: ReadonlyArray<readonly [kind: string, exitCode: number | string, happened: string, remedy: string]> = [
  ["`UsageError`", 2, "flags that contradict each other, or a value out of its range", "`--help` shows what there is."],
  ["`InvalidFile`", 3, "a file is not what its format demands; codes below", "See the code."],
  ["`PlanRefused`", 3, "the plan does not account for every byte; codes below", "See the code."],
  ["`Unsupported`", 4, "sound, but asks for what does not exist here: an architecture, a format, an option", "The message names what there is."],
  ["`OutputRefused`", 5, "the target exists, is in use or cannot be replaced; codes below", "See the code."],
  ["`NoSpace`", 6, "the file system or the quota is full, or will be (looked at before and while writing)", "Make room, then `--resume`."],
  ["`IoError`", 7, "the operating system refused a call; the message names the call, the path and the errno; the code is `io/` and the errno", "Depends on the errno; what was done is kept for `--resume`."],
  ["`LaunchError`", 2, "what flags, launcher and the other processes of a job say does not fit together; codes below", "See the code."],
  ["`ClusterError`", 8, "the processes of a job did not find each other in time, or lost each other; codes below", "Start the job again with `--resume`."],
  ["`StreamRefused`", 2, "what was asked of a stream of weights cannot be given; codes below", "See the code."],
  ["`StreamBroken`", 8, "a stream of weights broke off, or nobody answers at its address", "Look at the server; then begin the stream again."],
  ["`PeerFailed`", 9, "another process of the job failed first; the message names its rank and host and what happened there", "Look at the process that is named; this one only followed."],
  ["`Internal`", 70, "a bug of ours; the code is `internal`", "`--debug` shows where; report it."],
  ["`Interrupted`", "129, 130, 143", "SIGHUP, SIGINT or SIGTERM (128 and the number of the signal); the code is `interrupted`; nothing was published, finished work is kept", "`--resume`."]
]
