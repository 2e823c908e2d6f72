/**
 * A file system in memory that knows what a loss of power would leave. Data is durable from the fsync of its file on, names from
 * the fsync of their directory on; everything else may be there or not, in any combination that {@link image} is asked for.
 */
import { basename, dirname, join, resolve } from "node:path"
import { IoError } from "../../src/errors.ts"
import { type DiskCalls, diskError, type DiskFile, type FileInfo, identified } from "../../src/io/Disk.ts"

const PAGE = 4096

type Change = { readonly position: number; readonly bytes: Uint8Array } | { readonly truncate: number }

interface Inode {
  readonly ino: number
  readonly kind: "file" | "directory" | "link"
  /** Of a link: where it leads, absolute. Never written into, so that copies can share it. */
  bytes: Uint8Array
  mtime: number
  ctime: number
  readonly entries: Map<string, Inode>
  /** Content at the last fsync, and what changed since. */
  durable: Uint8Array
  pending: Array<Change>
}

/** A change of names. */
interface Entry {
  readonly add?: { readonly directory: Inode; readonly name: string; readonly inode: Inode }
  readonly remove?: { readonly directory: Inode; readonly name: string }
  durable: boolean
}

/**
 * `ordered`: changes of names reach the disk in their order, as with a journalling file system; data in any order.
 * `unordered`: any of them may be missing that was not synced, and writes may be torn.
 */
export type CrashModel = "ordered" | "unordered"

export class MemoryFileSystem {
  free = 1e15
  /** Direct I/O is refused, as on tmpfs of old kernels and on many network file systems. */
  direct = true
  /** Files can share blocks, as on XFS and Btrfs. */
  reflinks = false
  #ino = 1
  #time = 1.6e12
  #open = 0
  #root: Inode
  /** What is durable however the power fails, and the changes of names since. */
  #base: Inode
  #log: Array<Entry> = []
  readonly #all = new Map<number, Inode>()

  constructor(root?: Inode, ino = 1, time = 1.6e12) {
    this.#ino = ino
    this.#time = time
    this.#root = root ?? this.#inode("directory")
    this.#base = copyTree(this.#root)
    for (const inode of inodes(this.#root)) this.#all.set(inode.ino, inode)
  }

  get openFiles(): number {
    return this.#open
  }

  /** Another one with the same content; everything in it is durable. */
  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem(copyTree(this.#root), this.#ino, this.#time)
    copy.free = this.free
    copy.direct = this.direct
    copy.reflinks = this.reflinks
    return copy
  }

  /** Everything that is there now is durable. */
  settle(): void {
    for (const inode of inodes(this.#root)) {
      inode.durable = inode.bytes
      inode.pending = []
    }
    this.#base = copyTree(this.#root)
    this.#log = []
  }

  /** The file system after a loss of power now. */
  image(model: CrashModel, random: () => number): MemoryFileSystem {
    const last = this.#log.findLastIndex((entry) => entry.durable)
    const cut = last + 1 + Math.floor(random() * (this.#log.length - last))
    const survives = (entry: Entry, i: number): boolean =>
      entry.durable || (model === "ordered" ? i < cut : random() < 0.5)
    const known = new Map<number, Inode>()
    const root = copyTree(this.#base, known)
    for (const [ino, copy] of known) copy.bytes = crashed(this.#all.get(ino)!, model, random)
    const found = (inode: Inode): Inode => {
      const old = known.get(inode.ino)
      if (old) return old
      const fresh: Inode = { ...inode, entries: new Map(), bytes: crashed(inode, model, random), pending: [] }
      known.set(inode.ino, fresh)
      return fresh
    }
    this.#log.forEach((entry, i) => {
      if (!survives(entry, i)) return
      const { add, remove } = entry
      if (remove) found(remove.directory).entries.delete(remove.name)
      if (add) found(add.directory).entries.set(add.name, found(add.inode))
    })
    for (const inode of known.values()) inode.durable = inode.bytes
    return new MemoryFileSystem(root, this.#ino, this.#time)
  }

  /** Every file below a directory with its content, by relative path; directories with a slash at the end. */
  files(path: string): Map<string, Uint8Array> {
    const out = new Map<string, Uint8Array>()
    const visit = (inode: Inode, prefix: string) => {
      for (const [name, child] of [...inode.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (child.kind === "link") out.set(`${prefix}${name}@`, child.bytes)
        else if (child.kind === "directory") {
          out.set(`${prefix}${name}/`, EMPTY)
          visit(child, `${prefix}${name}/`)
        } else out.set(prefix + name, child.bytes)
      }
    }
    const inode = this.#find(path)
    if (inode) visit(inode, "")
    return out
  }

  has(path: string): boolean {
    return this.#find(path) !== undefined
  }

  /** Change a file from outside, as another program would; `keepTime`: one that puts the modification time back. */
  edit(path: string, edit: (bytes: Uint8Array) => Uint8Array, { keepTime = false } = {}): void {
    const inode = this.#find(path)!
    inode.bytes = edit(inode.bytes.slice())
    inode.ctime = this.#tick()
    if (!keepTime) inode.mtime = inode.ctime
  }

  /** A symbolic link, as another program would make it; `to` is absolute. */
  symlink(to: string, path: string): void {
    const inode = this.#inode("link")
    inode.bytes = Buffer.from(to)
    this.#link(this.#parent(path, "symlink"), basename(path), inode)
  }

  get calls(): DiskCalls {
    return {
      open: async (path, mode, { direct = false } = {}) => {
        if (direct && !this.direct) throw diskError(path, "open", "EINVAL")
        const parent = this.#parent(path, "open")
        const name = basename(path)
        let inode = parent.entries.get(name)
        if (mode === "create") {
          if (inode) throw diskError(path, "open", "EEXIST")
          inode = this.#inode("file")
          this.#link(parent, name, inode)
        }
        if (inode?.kind === "link") {
          if (mode === "readwrite") throw diskError(path, "open", "ELOOP")
          inode = this.#find(path)
        }
        if (!inode) throw diskError(path, "open", "ENOENT")
        if (inode.kind === "directory" && mode === "readwrite") throw diskError(path, "open", "EISDIR")
        return this.#file(path, inode, direct)
      },
      lstat: async (path) => this.#info(this.#get(path, "stat", false)),
      stat: async (path) => this.#info(this.#get(path, "stat")),
      realpath: async (path) => (this.#get(path, "realpath"), this.#resolve(path, true)),
      list: async (path) => [...this.#directory(path, "list").entries.keys()].sort(),
      makeDirectory: async (path) => {
        const parent = this.#parent(path, "mkdir")
        if (parent.entries.has(basename(path))) throw diskError(path, "mkdir", "EEXIST")
        this.#link(parent, basename(path), this.#inode("directory"))
      },
      rename: async (from, to) => {
        const inode = this.#get(from, "rename", false)
        const [source, target] = [this.#parent(from, "rename"), this.#parent(to, "rename")]
        const there = target.entries.get(basename(to))
        if (there && inode.kind === "directory" && there.kind !== "directory") throw diskError(to, "rename", "ENOTDIR")
        if (there && inode.kind !== "directory" && there.kind === "directory") throw diskError(to, "rename", "EISDIR")
        if (there && there.entries.size > 0) throw diskError(to, "rename", "ENOTEMPTY")
        source.entries.delete(basename(from))
        target.entries.set(basename(to), inode)
        this.#log.push({
          remove: { directory: source, name: basename(from) },
          add: { directory: target, name: basename(to), inode },
          durable: false
        })
        touch(this.#tick(), source, target)
      },
      link: async (from, to) => {
        const inode = this.#get(from, "link")
        const parent = this.#parent(to, "link")
        if (parent.entries.has(basename(to))) throw diskError(to, "link", "EEXIST")
        this.#link(parent, basename(to), inode)
      },
      symbolicLink: async (target, path) => this.symlink(resolve(dirname(path), target), path),
      clone: async (from, to) => {
        const { bytes } = this.#get(from, "clone")
        if (!this.reflinks) throw diskError(to, "clone", "ENOTSUP")
        const parent = this.#parent(to, "clone")
        if (parent.entries.has(basename(to))) throw diskError(to, "clone", "EEXIST")
        const inode = this.#inode("file")
        inode.bytes = bytes
        inode.pending.push({ position: 0, bytes })
        this.#link(parent, basename(to), inode)
      },
      remove: async (path) => {
        if (this.#get(path, "remove", false).kind === "directory") throw diskError(path, "remove", "EISDIR")
        this.#unlink(this.#parent(path, "remove"), basename(path))
      },
      removeDirectory: async (path) => {
        if (this.#directory(path, "remove").entries.size > 0) throw diskError(path, "remove", "ENOTEMPTY")
        this.#unlink(this.#parent(path, "remove"), basename(path))
      },
      removeTree: async (path) => {
        const inode = this.#find(path, false)
        if (!inode) return
        const empty = (directory: Inode) => {
          for (const [name, child] of directory.entries) {
            if (child.kind === "directory") empty(child)
            this.#unlink(directory, name)
          }
        }
        empty(inode)
        this.#unlink(this.#parent(path, "remove"), basename(path))
      },
      syncDirectory: async (path) => {
        const inode = this.#directory(path, "fsync")
        for (const entry of this.#log) if (entry.add?.directory === inode || entry.remove?.directory === inode) entry.durable = true
      },
      freeSpace: async (path) => (this.#directory(path, "statfs"), this.free)
    }
  }

  #tick(): number {
    return this.#time += 1
  }

  #inode(kind: Inode["kind"]): Inode {
    const time = this.#tick()
    const inode: Inode = { ino: this.#ino++, kind, bytes: EMPTY, mtime: time, ctime: time, entries: new Map(), durable: EMPTY, pending: [] }
    this.#all.set(inode.ino, inode)
    return inode
  }

  /** Without links; `follow`: also not at its end. */
  #resolve(path: string, follow: boolean, depth = 0): string {
    let [inode, at]: [Inode | undefined, string] = [this.#root, "/"]
    const names = resolve(path).split("/").filter((name) => name !== "")
    for (const [i, name] of names.entries()) {
      inode = inode?.entries.get(name)
      if (inode?.kind === "link" && (follow || i < names.length - 1)) {
        if (depth > 8) throw diskError(path, "open", "ELOOP")
        return this.#resolve(join(Buffer.from(inode.bytes).toString(), ...names.slice(i + 1)), follow, depth + 1)
      }
      at = join(at, name)
    }
    return at
  }

  #find(path: string, follow = true): Inode | undefined {
    let inode: Inode | undefined = this.#root
    for (const name of this.#resolve(path, follow).split("/")) if (name !== "") inode = inode?.entries.get(name)
    return inode
  }

  #get(path: string, operation: string, follow = true): Inode {
    const inode = this.#find(path, follow)
    if (!inode) throw diskError(path, operation, "ENOENT")
    return inode
  }

  #directory(path: string, operation: string): Inode {
    const inode = this.#get(path, operation)
    if (inode.kind !== "directory") throw diskError(path, operation, "ENOTDIR")
    return inode
  }

  #parent(path: string, operation: string): Inode {
    const parent = this.#find(dirname(resolve(path)))
    if (!parent) throw diskError(path, operation, "ENOENT")
    if (parent.kind !== "directory") throw diskError(path, operation, "ENOTDIR")
    return parent
  }

  #link(directory: Inode, name: string, inode: Inode): void {
    directory.entries.set(name, inode)
    touch(this.#tick(), directory)
    inode.ctime = directory.ctime
    this.#log.push({ add: { directory, name, inode }, durable: false })
  }

  #unlink(directory: Inode, name: string): void {
    const inode = directory.entries.get(name)
    directory.entries.delete(name)
    touch(this.#tick(), directory)
    if (inode) inode.ctime = directory.ctime
    this.#log.push({ remove: { directory, name }, durable: false })
  }

  #info({ bytes, ctime, ino, kind, mtime }: Inode): FileInfo {
    return identified({ kind, size: bytes.byteLength, dev: 1, ino, mtimeNs: BigInt(mtime), ctimeNs: BigInt(ctime) })
  }

  #file(path: string, inode: Inode, direct: boolean): DiskFile {
    this.#open++
    let closed = false
    const check = (operation: string, memory?: Uint8Array, position = 0) => {
      if (closed) throw new IoError({ path, operation, errno: "EBADF" })
      if (direct && memory && (position % PAGE !== 0 || memory.byteLength % PAGE !== 0 || memory.byteOffset % PAGE !== 0)) {
        throw diskError(path, operation, "EINVAL")
      }
    }
    const change = (made: Change) => {
      inode.pending.push(made)
      inode.bytes = applied(inode.bytes, made)
      touch(this.#tick(), inode)
    }
    return {
      path,
      read: async (into, position) => {
        check("read", into, position)
        const part = inode.bytes.subarray(position, position + into.byteLength)
        into.set(part)
        return part.byteLength
      },
      write: async (from, position) => {
        check("write", from, position)
        change({ position, bytes: from.slice() })
        return from.byteLength
      },
      info: async () => (check("stat"), this.#info(inode)),
      truncate: async (size) => {
        check("truncate")
        change({ truncate: size })
      },
      sync: async () => {
        check("fsync")
        inode.durable = inode.bytes
        inode.pending = []
      },
      close: async () => {
        if (closed) return
        closed = true
        this.#open--
      }
    }
  }
}

const EMPTY: Uint8Array = new Uint8Array(0)

const touch = (time: number, ...changed: ReadonlyArray<Inode>): void => {
  for (const inode of changed) inode.mtime = inode.ctime = time
}

const resized = (bytes: Uint8Array, size: number): Uint8Array => {
  if (bytes.byteLength === size) return bytes
  const other = new Uint8Array(size)
  other.set(bytes.subarray(0, size))
  return other
}

const applied = (bytes: Uint8Array, change: Change): Uint8Array => {
  if ("truncate" in change) return resized(bytes, change.truncate)
  const end = change.position + change.bytes.byteLength
  const out = new Uint8Array(Math.max(bytes.byteLength, end))
  out.set(bytes)
  out.set(change.bytes, change.position)
  return out
}

/** What of a file's content a loss of power leaves. */
const crashed = (inode: Inode, model: CrashModel, random: () => number): Uint8Array => {
  let bytes = inode.durable
  for (const change of inode.pending) {
    if ("truncate" in change || model === "ordered") {
      if (random() < 0.5) bytes = applied(bytes, change)
      continue
    }
    for (let at = 0; at < change.bytes.byteLength;) {
      const position = change.position + at
      const length = Math.min(PAGE - position % PAGE, change.bytes.byteLength - at)
      const fate = random()
      if (fate < 0.5) bytes = applied(bytes, { position, bytes: change.bytes.subarray(at, at + length) })
      // The length of a file may be written when its data is not: zeros.
      else if (fate < 0.75) bytes = resized(bytes, Math.max(bytes.byteLength, position + length))
      at += length
    }
  }
  return bytes
}

const copyTree = (inode: Inode, known = new Map<number, Inode>()): Inode => {
  const seen = known.get(inode.ino)
  if (seen) return seen
  const copy: Inode = { ...inode, durable: inode.bytes, pending: [], entries: new Map() }
  known.set(inode.ino, copy)
  for (const [name, child] of inode.entries) copy.entries.set(name, copyTree(child, known))
  return copy
}

const inodes = function*(inode: Inode, seen = new Set<Inode>()): Generator<Inode> {
  if (seen.has(inode)) return
  seen.add(inode)
  yield inode
  for (const child of inode.entries.values()) yield* inodes(child, seen)
}
