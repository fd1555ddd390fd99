"""The page at /: what is here, without a script or a host other than this one."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def render_index(openapi: Mapping[str, Any], targets: Sequence[str]) -> str:
    """HTML that lists the targets, with their reference pictures, and the endpoints of the OpenAPI document."""
    faces = "".join(
        f'<li><a href="/targets/{escape(name)}"><img src="/targets/{escape(name)}/reference" alt="" height="128">'
        f"<br>{escape(name)}</a></li>"
        for name in targets
    )
    rows = "".join(
        f"<tr><td>{escape(method.upper())}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('description', ''))}</td></tr>"
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LandmarkGAN</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body>'
        f"<h1>LandmarkGAN</h1><h2>Targets</h2><ul>{faces or '<li>none yet</li>'}</ul>"
        f"<h2>Endpoints</h2><table>{rows}</table>"
        '<p>All of it, with examples: <a href="/openapi.json">/openapi.json</a></p></body></html>'
    )
