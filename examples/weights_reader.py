#!/usr/bin/env python3
"""Reads a weight stream (`convert_megatron_mimo serve`) and gives (name, array) pairs, as `load_weights` of an engine takes them.

    MEGATRON_MIMO_TOKEN=... python weights_reader.py ws://host:7070/ [tp rank]

Needs: pip install websockets numpy. With torch: torch.from_numpy(array).view(torch.bfloat16) for BF16, which numpy has no type for.
"""
import json
import os
import struct
import sys
import zlib

import numpy as np
from websockets.sync.client import connect

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "?", "F8_E4M3": "<u1", "F8_E5M2": "<u1"}
WINDOW = 16 << 20


def weights(url, token, **select):
    """Whole tensors in the order of the model. `select`: components=[...], tensors=["*.mlp.*"], shard={"tp": 4, "rank": 0}."""
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, max_size=1 << 20, compression=None) as ws:
        ws.send(json.dumps({"type": "open", "protocol": 1, "credit": WINDOW, **select}))
        manifest, taken, received, buffer = None, 0, 0, b""
        for message in ws:
            if isinstance(message, str):
                word = json.loads(message)
                if word["type"] == "error":
                    raise RuntimeError(f"{word['code']}: {word['message']}")
                if word["type"] == "end":
                    assert received == manifest["bytes"], "the stream ended before all had come"
                    return
                manifest = word
                continue
            (length,) = struct.unpack_from("<I", message)
            header, piece = json.loads(message[4 : 4 + length]), memoryview(message)[4 + length :]
            if zlib.crc32(piece) != header["crc32"]:
                raise RuntimeError(f"{header['name']}: bytes arrived changed")
            if header["offset"] == 0:
                buffer = bytearray()
            assert len(buffer) == header["offset"], "pieces out of order"
            buffer += piece
            received += len(piece)
            taken += len(piece)
            if header["last"]:
                yield header["name"], np.frombuffer(buffer, DTYPES[header["dtype"]]).reshape(header["shape"])
            if taken >= WINDOW // 4:
                ws.send(json.dumps({"type": "credit", "bytes": taken}))
                taken = 0


if __name__ == "__main__":
    url, *shard = sys.argv[1:]
    chosen = {"shard": {"tp": int(shard[0]), "rank": int(shard[1])}} if shard else {}
    for name, array in weights(url, os.environ["MEGATRON_MIMO_TOKEN"], **chosen):
        print(name, array.dtype, list(array.shape), f"{zlib.crc32(array.tobytes()):08x}")
