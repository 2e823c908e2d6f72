"""
A receiver of published versions that shares nothing with ours: numpy, zstandard and xxhash, after the description of the layout.

    receiver.py pull LOCAL SOURCE VERSION     brings LOCAL to that version
    receiver.py sums DIRECTORY                a line "NAME DTYPE SHAPE SHA256" for each tensor
"""
import hashlib
import json
import os
import re
import shutil
import struct
import sys

import numpy as np
import xxhash
import zstandard

INDEX = "model.safetensors.index.json"


class Refused(Exception):
    pass


def header(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        table = json.loads(f.read(length))
    return table.pop("__metadata__", {}), table, 8 + length


def index(directory):
    path = os.path.join(directory, INDEX)
    if not os.path.exists(path):
        return {}, {}
    with open(path) as f:
        document = json.load(f)
    return document.get("metadata", {}), document["weight_map"]


def places(directory):
    """name -> (path, begin, end, dtype, shape)"""
    _, weights = index(directory)
    files = sorted(set(weights.values())) or [f for f in os.listdir(directory) if f.endswith(".safetensors")]
    found = {}
    for name in files:
        path = os.path.join(directory, name)
        _, table, start = header(path)
        size = os.path.getsize(path)
        for tensor, entry in table.items():
            begin, end = entry["data_offsets"]
            if start + end > size:
                raise Refused(f"{path} is cut short")
            found[tensor] = (path, start + begin, start + end, entry["dtype"], entry["shape"])
    return found


def version_directory(source, version):
    return os.path.join(source, f"weight_v{version:06d}")


def applied(local):
    try:
        with open(os.path.join(local, ".weight_sync", "state.json")) as f:
            return int(json.load(f)["version"])
    except FileNotFoundError:
        return None


def record(local, version):
    os.makedirs(os.path.join(local, ".weight_sync"), exist_ok=True)
    with open(os.path.join(local, ".weight_sync", "state.json"), "w") as f:
        json.dump({"version": f"{version:06d}"}, f)


def seed(local, directory):
    shutil.rmtree(local, ignore_errors=True)
    os.makedirs(local)
    for name in os.listdir(directory):
        shutil.copyfile(os.path.join(directory, name), os.path.join(local, name))
        if os.path.getsize(os.path.join(local, name)) != os.path.getsize(os.path.join(directory, name)):
            raise Refused(f"{name} has another size")


def apply(local, directory, base):
    meta, weights = index(directory)
    if int(meta["base_version"]) != base:
        raise Refused(f"out of order: {meta['base_version']} is not {base}")
    if meta["delta_encoding"] not in ("xor", "overwrite") or meta["compression_format"] != "zstd" or meta["checksum_format"] != "xxh3-128":
        raise Refused("unknown encoding")
    own = places(local)
    wrong = []
    for shard in sorted(set(weights.values())):
        path = os.path.join(directory, shard)
        sums, table, start = header(path)
        with open(path, "rb") as f:
            data = f.read()
        for name, entry in table.items():
            if entry["dtype"] != "U8" or len(entry["shape"]) != 1:
                raise Refused(f"{name} is no vector of bytes")
            begin, end = entry["data_offsets"]
            delta = np.frombuffer(zstandard.ZstdDecompressor().decompress(data[start + begin:start + end], max_output_size=1 << 32), dtype=np.uint8)
            target, a, b, _, _ = own[name]
            tensor = np.memmap(target, dtype=np.uint8, mode="r+", offset=a, shape=(b - a,))
            if meta["delta_encoding"] == "xor":
                if delta.size != tensor.size:
                    raise Refused(f"{name} has another size")
                tensor ^= delta
            else:
                count = int(delta[:4].view("<u4")[0])
                at = delta[4:4 + 4 * count].view("<u4")
                tensor[at] = delta[4 + 4 * count:4 + 5 * count]
            tensor.flush()
            if xxhash.xxh3_128_hexdigest(tensor.tobytes()) != sums[name]:
                wrong.append(name)
    if wrong:
        raise Refused(f"checksum mismatch: {wrong[:20]}")


def pull(local, source, target):
    here = applied(local)
    chain = []
    at = target
    while at != here:
        directory = version_directory(source, at)
        if not os.path.isdir(directory):
            raise Refused(f"there is no version {at}")
        meta, _ = index(directory)
        chain.append((at, directory, "delta_encoding" in meta))
        if "delta_encoding" not in meta:
            break
        if int(meta["base_version"]) >= at:
            raise Refused(f"out of order: {at} is applied to {meta['base_version']}")
        at = int(meta["base_version"])
    for version, directory, is_delta in reversed(chain):
        if is_delta:
            apply(local, directory, version - 1 if here is None else here)
        else:
            seed(local, directory)
        here = version
        record(local, version)


def sums(directory):
    for name, (path, begin, end, dtype, shape) in sorted(places(directory).items()):
        with open(path, "rb") as f:
            f.seek(begin)
            print(name, dtype, ",".join(map(str, shape)), hashlib.sha256(f.read(end - begin)).hexdigest())


if __name__ == "__main__":
    try:
        if sys.argv[1] == "pull":
            pull(sys.argv[2], sys.argv[3], int(re.sub(r"\D", "", sys.argv[4])))
        else:
            sums(sys.argv[2])
    except Refused as problem:
        print(f"refused: {problem}")
        sys.exit(3)
