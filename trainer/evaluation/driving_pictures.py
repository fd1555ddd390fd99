"""The driving pictures for other programs: what to make, of what, and under which name to leave it.

    drivers/<driver>/<frame>.png     the test frames, cropped as ours; neutral.png: one at rest, not among them
    drivers/strangers/<photo>.png    the still faces, cropped alike
    references/<target>.png          the target's reference picture
    index.json                       for each picture to make: `name`, `target`, `driver`

A driver under ``results/`` is a picture that the program made before: the way back of the cycle.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from shared.pixels import Image8
from trainer.evaluation.baselines import Shot
from trainer.evaluation.evaluate import Material
from trainer.evaluation.protocols import list_cross, list_own, list_stills, name_frames
from trainer.evaluation.report import write_text


def write_drivers(material: Material, folder: Path) -> int:
    """Write every driving picture and reference, and the index; how many pictures there are to make."""
    pictures: dict[str, Image8] = {f"references/{name}": picture for name, picture in material.references.items()}
    entries: list[dict[str, str]] = []

    def ask(shots: Sequence[Shot], drivers: Sequence[str]) -> None:
        entries.extend(
            {"name": f"{shot.name}.png", "target": shot.target, "driver": f"{driver}.png"}
            for shot, driver in zip(shots, drivers, strict=True)
        )

    frames: dict[str, list[str]] = {}
    for name, clip in material.clips.items():
        frames[name] = [f"drivers/{name}/{row:06d}" for row in clip.rows]
        pictures |= dict(zip(frames[name], clip.crops, strict=True)) | {f"drivers/{name}/neutral": clip.calm}
    for target in material.manifests:
        ask(list_own(material.clips[target]), frames[target])
    for driver, target in material.list_pairs():
        clip = material.clips[driver]
        ask(list_cross(clip, target), frames[driver])
        if driver in material.manifests:
            there = [f"results/{name}" for name in name_frames("cross", clip, target)]
            back = name_frames("cycle", clip, target)
            ask([Shot(name, driver, points) for name, points in zip(back, clip.points, strict=True)], there)
    stills = [f"drivers/strangers/{still.name}-{still.face}" for still in material.stills]
    pictures |= dict(zip(stills, material.still_crops, strict=True))
    for target in material.manifests:
        ask(list_stills(material.stills, target), stills)
    for place, picture in pictures.items():
        path = folder / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    index = {
        "targets": {
            name: {"reference": f"references/{name}.png", "size": manifest.image_size}
            for name, manifest in material.manifests.items()
        },
        "drivers": {name: {"neutral": f"drivers/{name}/neutral.png"} for name in material.clips},
        "pictures": entries,
    }
    write_text(folder / "index.json", json.dumps(index, indent=1) + "\n")
    return len(entries)
