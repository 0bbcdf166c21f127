"""Overview: system left, model right, every product worst first, and what changed when."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import element, frame, reading, text
from dashboard.blocks.card import sides
from dashboard.blocks.changes import change_list
from dashboard.blocks.marks import link, state_legend
from dashboard.blocks.matrix import matrix
from dashboard.blocks.panel import first_steps, notice, section
from dashboard.blocks.reviews import moment_list
from dashboard.charts.timeline import timeline
from dashboard.view import View
from tandem.shown import Overview, Row


def show(view: View) -> None:
    """Read, draw, stop."""
    found = frame.answer(view, lambda: reading.overview(view), (290, 280, 420))
    note = text.span(view.window.since, view.window.until, view.zone)
    frame.header(view, "System and model health", note, found.newest if found else None)
    if found is None:
        return
    if found.newest is None:
        first_step(view)
        if not view.context.config.components:
            return
    frame.ended(view, found.newest)
    with frame.panel(view, "State of each product"):
        _state(view, found)
    with frame.panel(view, "What changed, and when"):
        _timeline(view, found)


def late_sources(view: View, names: Sequence[str]) -> str:
    """A notice of the sources that are late, or nothing."""
    if not names or view.locked:  # a narrowed link does not name the sources of others
        return ""
    some = ", ".join(text.hx(name, 60) for name in names[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    said = "Late" if view.context.first_done else "Still collecting"
    return notice(f"{said}: {some}{more}. {link(view.link('sources'), 'See the sources')}.")


def late(view: View, names: Sequence[str]) -> None:
    """Say which sources are late."""
    said = late_sources(view, names)
    if said:
        element.show(said, f"late_{view.page}")


def _state(view: View, found: Overview) -> None:
    said = "worst first · over the whole window"
    parts = (
        late_sources(view, found.late),
        sides(found, view),
        section("State of each product", said, more=state_legend()),
        matrix(_shown_rows(found, view), found.columns, view, view.sides, found.as_of),
    )
    element.show('<div class="x-stack">' + "".join(part for part in parts if part) + "</div>", "overview")


def _shown_rows(found: Overview, view: View) -> list[Row]:
    return [row for row in found.rows if any({"system": row.service, "model": row.model}[side] for side in view.sides)]


def _timeline(view: View, found: Overview) -> None:
    frame.heading(view, "What changed, and when", "drag across the chart to zoom every number on this page")
    lines = tuple(
        line for line in found.lines if line.side in view.sides and any(point is not None for point in line.points)
    )
    marked = reading.moments(view)
    figure = timeline(
        lines, found.changes, view.window, found.step, view.zone, narrow=view.narrow, moments=marked
    )  # fmt: skip
    alt = (
        f"{' and '.join(line.title for line in lines) or 'No line'} over time, "
        f"with {text.plural(len(found.changes), 'change')}; the changes are listed below"
    )
    frame.chart(view, figure, "timeline", text.clean(alt))
    listed = change_list(found.changes, view, view.zone, wide=True)
    if marked:
        listed += f'<div class="r-marked"><b>Moments</b>{moment_list(marked, view)}</div>'
    if found.truncated:
        listed += f'<p class="m-more">{text.count(found.truncated)} more changes are counted but not drawn.</p>'
    element.show(listed, "changes")


def first_step(view: View) -> None:
    """What to do while there is nothing to show."""
    configured = bool(view.context.config.components)
    said = "The store is open and empty: nothing has been collected or imported yet."
    init = "<code>tandem init</code> writes a commented tandem.toml; name your components and sources there."
    sync = f"<code>tandem sync</code> pulls what is configured; {link(view.link('sources'), 'see the sources')}."
    load = "<code>tandem import PATH</code> reads an exported file: a prediction log, JUnit, GitHub or Prometheus JSON."
    demo = "<code>tandem demo</code> opens a sample company beside this one, to look around."
    steps = (sync, load, demo) if configured else (init, load, demo)
    element.show(first_steps("Nothing here yet", said, steps), f"first_{view.page}")
