"""The benchmark of two releases: a checkout of its own, its rows measured, and the table."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks import checkouts
from benchmarks.__main__ import Row, format_table, list_rows, write_media
from benchmarks.browser import find_chromium
from benchmarks.checkouts import HERE, check_out, read_cpu, start_checkout
from benchmarks.stream import draw_frames, encode_frames


def test_a_revision_is_there_for_as_long_as_it_is_needed() -> None:
    with check_out("HEAD") as folder:
        assert (folder / "service" / "__main__.py").is_file()
    assert not folder.exists()
    with pytest.raises(SystemExit, match="no checkout of none-such"), check_out("none-such"):
        pass


def test_every_row_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkouts, "STREAM_SECONDS", 0.5)
    monkeypatch.setattr(checkouts, "PAGE_SECONDS", 2)
    drawn = draw_frames(HERE / "models" / "franck" / "reference.jpg")
    frames = encode_frames(drawn)
    chromium = find_chromium()
    with TemporaryDirectory() as folder:
        write_media(Path(folder), frames[:3], drawn)
        with start_checkout(HERE, "franck", 2, Path(folder)) as checkout:
            checkout.time_networks(2)
            checkout.time_endpoints(2, frames)
            if chromium:
                checkout.time_pages(chromium, frames)
            assert read_cpu(checkout.served.pid) > 0
    rows = {row.name: row for row in list_rows(checkout, None)}
    pages = ["editor, pointer to painted picture, ms", "/live beside a camera, pictures a second"]
    assert len(rows) == 16
    assert all(row.before is None for row in rows.values())
    assert all(row.now is not None and row.now > 0 for name, row in rows.items() if chromium or name not in pages)
    ratio = rows["/synthesize, ms"].now / rows["generator, ms"].now
    assert rows["/synthesize over the generator"].now == pytest.approx(ratio)


def test_the_table_has_the_release_before_where_there_is_one() -> None:
    rows = [Row("generator, ms", 8.0, 10.0), Row("authors", 120.0), Row("absent", None)]
    alone, beside = format_table(rows, None).splitlines(), format_table(rows, "v1").splitlines()
    assert alone[1].split() == ["generator,", "ms", "8.00"]
    assert beside[0].split() == ["now", "before", "now/before"]
    assert [line.split()[-3:] for line in beside[1:]] == [
        ["8.00", "10.00", "0.80"], ["120.00", "-", "-"], ["-", "-", "-"],
    ]  # fmt: skip
