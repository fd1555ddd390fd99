"""The picture of docs/scale.md: answer times by load, foretold as a line and measured as dots, as an SVG file."""

from collections.abc import Callable, Sequence

from benchmarks.queueing import Row

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 340, 64, 40, 150, 52
Place = Callable[[float, float], tuple[float, float]]
COLOURS = ("#00509f", "#d2351e", "#3a7d2c", "#7a4fa3")


def draw_chart(rows: Sequence[Row]) -> str:
    """An SVG: a line and dots for each number of workers and each quantile; p50 is dashed."""
    highest = max(max(row.foretold.p99, row.found.p99) for row in rows) * 1.05

    def place(load: float, milliseconds: float) -> tuple[float, float]:
        x = LEFT + load * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - milliseconds / highest * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *_draw_axes(place, highest)]
    key = TOP + 8
    for colour, workers in zip(COLOURS, sorted({row.workers for row in rows}), strict=False):
        some = [row for row in rows if row.workers == workers]
        for quantile, dashes in (("p99", ""), ("p50", ' stroke-dasharray="5 4"')):
            line = [place(row.load, getattr(row.foretold, quantile)) for row in some]
            parts.append(_draw_line(line, colour, dashes))
            dots = [place(row.load, getattr(row.found, quantile)) for row in some]
            parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in dots]
            start = WIDTH - RIGHT + 12
            parts.append(_draw_line([(start, key - 4), (start + 24, key - 4)], colour, dashes))
            parts.append(_write(start + 32, key, f"{workers} worker{'s' * (workers > 1)}, {quantile}", "start"))
            key += 20
    text = "line: model, dot: measured"
    parts.append(_write(LEFT, TOP - 18, f"milliseconds from arrival to answer ({text})", "start"))
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'


def _draw_axes(place: Place, highest: float) -> list[str]:
    (left, bottom), (right, top) = place(0, 0), place(1, highest)
    parts = [_draw_line([(left, top), (left, bottom), (right, bottom)], "#333", "")]
    for step in range(5):
        load, milliseconds = step / 4, highest * step / 4
        parts.append(_write(place(load, 0)[0], bottom + 18, f"{load:.0%}", "middle"))
        parts.append(_write(left - 8, place(0, milliseconds)[1] + 4, f"{milliseconds:.0f}", "end"))
    parts.append(_write((left + right) / 2, bottom + 40, "of the workers' time is busy", "middle"))
    return parts


def _draw_line(points: Sequence[tuple[float, float]], colour: str, dashes: str) -> str:
    told = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _write(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#333">{text}</text>'
