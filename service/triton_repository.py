"""``python -m service.triton_repository``: a bundle's networks as a model repository that NVIDIA Triton loads.

    <target>_converter/   anyone's landmarks to the target's     FP32 [points, 2] -> FP32 [points, 2]
    <target>_generator/   those to a picture in [0, 1]           FP32 [points, 2] -> FP32 [3, S, S]
    <target>/             the ensemble of both

The networks alone: landmarks must be in the target's crop units, and pictures are not marked as synthetic.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.bundle import Bundle, OnnxFile, TensorSpec, load_bundle
from shared.errors import LandmarkGANError

MAX_BATCH = 4  # the service's own default
CONFIG, VERSION, MODEL = "config.pbtxt", "1", "model.onnx"


def write_repository(bundle: Bundle, folder: Path) -> list[str]:
    """Write the three models below `folder`. Returns their names. Raises FileExistsError where one is there."""
    manifest = bundle.manifest
    converter, generator = f"{manifest.target}_converter", f"{manifest.target}_generator"
    for name, spec in ((converter, manifest.converter), (generator, manifest.tl2f)):
        version = _write_config(folder / name, describe_network(name, spec))
        (version / MODEL).write_bytes(bundle.files[spec.file])
    _write_config(folder / manifest.target, describe_ensemble(bundle, converter, generator))
    return [converter, generator, manifest.target]


def describe_network(name: str, spec: OnnxFile) -> str:
    """The config.pbtxt of one ONNX file."""
    return (
        f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: {MAX_BATCH}\n'
        f"input [ {describe_tensor(spec.input)} ]\noutput [ {describe_tensor(spec.output)} ]\n"
        "dynamic_batching {}\n"
    )


def describe_ensemble(bundle: Bundle, converter: str, generator: str) -> str:
    """The config.pbtxt that leads landmarks through both networks."""
    first, second = bundle.manifest.converter, bundle.manifest.tl2f
    between = "converted"
    steps = ", ".join(
        f'{{ model_name: "{name}" model_version: -1 '
        f'input_map {{ key: "{spec.input.name}" value: "{source}" }} '
        f'output_map {{ key: "{spec.output.name}" value: "{result}" }} }}'
        for name, spec, source, result in (
            (converter, first, first.input.name, between),
            (generator, second, between, second.output.name),
        )
    )
    return (
        f'name: "{bundle.manifest.target}"\nplatform: "ensemble"\nmax_batch_size: {MAX_BATCH}\n'
        f"input [ {describe_tensor(first.input)} ]\noutput [ {describe_tensor(second.output)} ]\n"
        f"ensemble_scheduling {{ step [ {steps} ] }}\n"
    )


def describe_tensor(spec: TensorSpec) -> str:
    """A tensor without its batch, which Triton adds."""
    dims = ", ".join(str(size) for size in spec.shape[1:])
    return f'{{ name: "{spec.name}" data_type: TYPE_FP32 dims: [ {dims} ] }}'


def _write_config(folder: Path, config: str) -> Path:
    version = folder / VERSION
    version.mkdir(parents=True)
    (folder / CONFIG).write_text(config, encoding="utf-8")
    return version


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 for a bundle or a folder that can't be used."""
    parser = argparse.ArgumentParser(prog="python -m service.triton_repository", description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path, help="folder of a bundle, such as models/franck")
    parser.add_argument("repository", type=Path, help="folder of the model repository; its other models stay")
    options = parser.parse_args(arguments)
    try:
        names = write_repository(load_bundle(options.bundle), options.repository)
    except FileExistsError as error:
        print(f"{error.filename} is there already: delete the model's folders, or name another.", file=sys.stderr)
        return 1
    except (LandmarkGANError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.repository}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
