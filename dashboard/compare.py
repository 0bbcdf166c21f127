"""Compare: A against B, number by number; for a model its drift, one row of it on both sides, and mix or real."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard import drifted, element, frame, held, other, reading, text
from dashboard.blocks.compared import against
from dashboard.blocks.differences import differences, sides, split
from dashboard.blocks.drift import drift_table, pair_legend
from dashboard.blocks.panel import notice, section
from dashboard.charts.drift import distribution_bars
from dashboard.text import hx
from dashboard.view import View, compact, write
from tandem.compared import Comparison, Difference
from tandem.records import BUCKET
from tandem.shown import Change, Distribution

FREE = "window:"


def show(view: View) -> None:
    """Read, draw, stop."""
    found = frame.answer(view, lambda: reading.compare(view), (120, 420))
    note = f"A against B · {against(view)}" if against(view) else "A against B"
    frame.header(view, "Compare", note, found.newest if found else None)
    _choose(view, found)
    if found is None:
        return
    frame.ended(view, found.newest)
    element.show(sides(found.a, found.b, view) + _notes(found, view), "sides")
    with frame.panel(view, "Differences"):
        _differences(view, found)
    with frame.panel(view, "Drift"):
        _drift(view, found)
    with frame.panel(view, "Mix or real"):
        _mixed(found)


def _notes(found: Comparison, view: View) -> str:
    said = [f"Before and after <b>{hx(_titled(found.change, view))}</b>."] if found.change else []
    said += [hx(one, 400) for one in found.remarks]
    return "".join(notice(one) for one in said)


# -- what is compared


def _choose(view: View, found: Comparison | None) -> None:
    """One row of choices: what A is narrowed to, what B is, and whether only differences are shown."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if view.component and found is not None:
            for key, names, everything in (("version", found.versions, "All versions"),
                                           ("segment", found.segments, "All segments")):  # fmt: skip
                if names:
                    _narrow(view, key, names, everything)
        _beside(view, found)
        if view.compare.startswith(FREE):
            _free(view)
        only = held.hold("w_only", view.tab == "differences")
        st.toggle("Only differences", key=only, on_change=_only, args=(view, only))


def _narrow(view: View, key: str, names: tuple[str, ...], everything: str) -> None:
    mine = str(view.asked[key])
    options = ("", *names) if not mine or mine in names else ("", mine, *names)
    control = held.hold(f"w_{key}_{view.component}", mine)
    st.selectbox(
        f"A: {text.clean(key, 20)}", options, key=control, width=170,
        format_func=lambda name: text.clean(name, 60) or everything, on_change=_narrowed, args=(view, key, control),
    )  # fmt: skip


def _narrowed(view: View, key: str, control: str) -> None:
    write(view, **{key: st.session_state[control]})


def _beside(view: View, found: Comparison | None) -> None:
    """Everything that B can be, in one list that can be searched."""
    named = _named(view, found)
    options = tuple(named) if view.compare in named else (*named, view.compare)
    key = held.hold(f"w_beside_{view.component}", view.compare)
    st.selectbox(
        "B: compare with", options, key=key, width="stretch" if view.narrow else 380,
        format_func=lambda name: text.clean(named.get(name) or against(view) or name, 90),
        on_change=_chosen, args=(view, found, key),
    )  # fmt: skip


def _named(view: View, found: Comparison | None) -> Mapping[str, str]:
    named = dict(frame.COMPARED)
    if found is not None and view.component:
        named |= {f"version:{one}": f"Version {one}" for one in found.versions if one != view.asked["version"]}
        named |= {f"segment:{one}": f"Segment {one}" for one in found.segments if one != view.asked["segment"]}
    for change in reversed(found.changes if found is not None else ()):
        named[f"change:{change.kind}/{change.key}"] = f"Before {_titled(change, view)}"
    return {**named, view.compare if view.compare.startswith(FREE) else FREE: "Another window"}


def _titled(change: Change, view: View) -> str:
    of = "" if view.component in change.components else f" of {', '.join(change.components[:2])}"
    return f"{change.title}{of}, {text.moment(change.ts, view.zone)}"


def _chosen(view: View, found: Comparison | None, control: str) -> None:
    """One gesture, one entry of the history: a change also sets where A begins."""
    wanted = st.session_state[control]
    if wanted == FREE and view.against is not None:
        wanted = f"{FREE}{compact(view.against.since)}{other.BETWEEN}{compact(view.against.until)}"
    elif wanted == FREE:
        wanted = f"{FREE}now-14d{other.BETWEEN}now-7d"
    kind, key = other.kind_of(wanted)
    changes = found.changes if found is not None else ()
    at = next((one for one in changes if kind == "change" and f"{one.kind}/{one.key}" == key), None)
    if at is None:
        write(view, compare=wanted)
        return
    begin = -(-(at.ended or at.until or at.ts) // BUCKET) * BUCKET
    until = str(view.asked["to"]) if view.window.until > begin and at.ts >= view.window.since else "now"
    write(view, compare=wanted, live=False, **{"from": compact(begin), "to": until})


def _free(view: View) -> None:
    """Both ends of another window, as they may stand in a link: ISO or now-7d."""
    begin, _, end = view.compare.removeprefix(FREE).partition(other.BETWEEN)
    for name, value in (("begin", begin), ("end", end)):
        control = held.hold(f"w_{name}", value)
        st.text_input(
            f"B: {text.clean(name, 20)}", key=control, width=170, on_change=_freed, args=(view,), max_chars=40
        )


def _freed(view: View) -> None:
    wanted = f"{FREE}{st.session_state[held.key('w_begin')]}{other.BETWEEN}{st.session_state[held.key('w_end')]}"
    try:
        write(view, compare=other.checked(wanted))
    except ValueError:
        st.toast("A window has a begin and an end, such as now-7d or 20261120T1800Z.")


def _only(view: View, control: str) -> None:
    write(view, tab="differences" if st.session_state[control] else "")


# -- what differs


def _differences(view: View, found: Comparison) -> None:
    certain = [row for row in found.rows if row.certain]
    shown = certain if view.tab == "differences" else list(found.rows)
    told = sum(row.interval is not None for row in found.rows)
    title = section("Differences", f"A minus B, most evidence first · {len(certain)} of {told} intervals exclude 0")
    if not found.rows:
        inside = '<p class="x-muted">Nothing was measured on either side.</p>'
    elif not shown:
        inside = '<p class="x-muted">No number differs by more than its 95 % interval.</p>'
    else:
        inside = differences(shown, view, several=_several(found.rows)) + _by_chance(told)
    element.show(f'<div class="x-panel">{title}{inside}</div>', "differences")


def _several(rows: tuple[Difference, ...]) -> bool:
    return len({row.component for row in rows}) > 1


def _by_chance(told: int) -> str:
    """Many intervals of 95 %: some exclude 0 where nothing changed, and that is said."""
    if told < 10:
        return ""
    return (
        f'<p class="m-more">Each interval holds 95 %: of {told} about {max(round(told * 0.05), 1)} would exclude 0 if '
        "nothing had changed.</p>"
    )


# -- of one model


def _drift(view: View, found: Comparison) -> None:
    if found.drifts is None or not found.drifts.rows:
        return
    shown = found.distribution
    left, right = st.columns((3, 2), gap="medium") if shown is not None and shown.labels else (st.container(), None)
    with left:
        title = section("Feature drift from B to A", "and of predictions and labels · a name shows both sides")
        table = drift_table(found.drifts.rows, view, shown.feature if shown else "")
        element.show(f'<div class="x-panel">{title}{table}</div>', "drift")
    if right is not None and shown is not None:
        with right, st.container(border=True):
            _pair(view, shown)


def _pair(view: View, shown: Distribution) -> None:
    names = ("B", "A")
    frame.heading(
        view, text.clean(shown.feature, 60), "share of rows in each bin",
        pair_legend(shown.n_reference, shown.n_current, names),
    )  # fmt: skip
    figure = distribution_bars(shown, narrow=view.narrow, names=names)
    frame.picture(figure, "pair", "Share of rows of A and of B in each bin of the chosen row")
    said = drifted.missing(shown, "B", "A")
    if said:
        st.caption(said)


TITLES = {"outcome": "accuracy", "error": "predictions within tolerance"}


def _mixed(found: Comparison) -> None:
    moved = {signal: parts for signal, parts in found.mixed.items() if any(part.change for part in parts)}
    if not moved:
        return
    inside = section("Mix or real", "how much of a change is another mix of traffic, and how much is the segments")
    for signal, parts in moved.items():
        title = TITLES.get(signal, signal.replace("_", " "))
        inside += f'<h3 class="ab-of">Change of {hx(title)}</h3>{split(title, parts)}'
    element.show(f'<div class="x-panel">{inside}</div>', "mixed")
