"""The client in docs/stream.md works as pasted, and its tables name what there is."""

import json
import re
import subprocess
import sys
from pathlib import Path

from running_service import run_service
from tiny_service import read_picture

from service.api.stream_messages import StreamOptions
from service.media.clip_renderer import RenderOptions
from service.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "stream.md").read_text(encoding="utf-8")


def test_the_client_works_as_pasted(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "models").symlink_to(ROOT / "models")
    with run_service(Settings(models_dir=ROOT / "models", threads=2)) as service:
        own = code.replace("127.0.0.1:8000", service.address)
        assert own != code
        done = subprocess.run(
            [sys.executable, "-c", own], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
        )
    ready, *answers = done.stdout.splitlines()
    assert json.loads(ready)["target"] == "franck"
    assert [line.split()[:2] for line in answers] == [[str(number), "face"] for number in range(1, 11)]
    assert read_picture((tmp_path / "runs" / "face.jpg").read_bytes()).shape == (256, 256, 3)


def test_the_tables_name_every_option_and_setting() -> None:
    for name in (*StreamOptions.model_fields, *RenderOptions.model_fields):
        assert f"| `{name}` |" in TEXT
    settings = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in settings
