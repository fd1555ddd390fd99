"""Manifests searched by hypothesis: whatever is written there is read as a manifest or refused as a BundleError."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_service import write_bundle

from shared.bundle import MANIFEST_NAME, BundleManifest, read_bundle
from shared.errors import BundleError

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["../x", "\x00", "/"])
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder, "ada")
    return folder / "ada"


@pytest.fixture(scope="module")
def written(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / MANIFEST_NAME).read_text())
    return content


def list_places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and index of a JSON document, with the way to it; of a long list the first two."""
    pairs = (
        content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    )
    for key, value in pairs:
        yield (*place, key)
        yield from list_places(value, (*place, key))


@QUICK
@given(data=st.data())
def test_a_manifest_with_anything_in_it(bundle: Path, written: dict[str, Any], data: st.DataObject) -> None:
    content = copy.deepcopy(written)
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(list(list_places(content))))
        parent = content
        for key in way:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[last] = data.draw(ANYTHING)
        else:
            del parent[last]
    (bundle / MANIFEST_NAME).write_text(json.dumps(content), encoding="utf-8")
    try:
        assert isinstance(read_bundle(bundle), BundleManifest)
    except BundleError:
        return


@QUICK
@given(st.binary(max_size=200))
def test_a_manifest_of_any_bytes(bundle: Path, noise: bytes) -> None:
    (bundle / MANIFEST_NAME).write_bytes(noise)
    with pytest.raises(BundleError):
        read_bundle(bundle)
