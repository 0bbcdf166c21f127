"""Answers as people read them on a terminal; nothing from outside moves the cursor."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from tandem import wording
from tandem.catalog import built_in
from tandem.delivery import METRICS


def clean(text: object, longest: int = 400) -> str:
    """`text` on one line, with what is not printable replaced."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text)[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


JOINER = "\u2060"
"""A word joiner: nothing to see, and no command any more."""


def unarmed(line: str) -> str:
    """A line that no runner of pipelines obeys: a name may look like a command of GitHub, Azure or TeamCity.

    They look for "::" at the beginning of a line and for "##" anywhere; a word joiner parts it for them.
    """
    line = line.replace("##", f"#{JOINER}#").replace("##", f"#{JOINER}#")
    return f"{JOINER}{line}" if line.lstrip().startswith("::") else line


class Progress:
    """One line per source on a terminal, drawn again as the work goes on; nothing anywhere else."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._lines: dict[str, str] = {}
        self._drawn = 0
        self._lock = threading.Lock()

    def __call__(self, source: str, what: str, share: float | None) -> None:
        """What a source is doing, and the share of it that is done."""
        if not self._live:
            return
        done = "" if share is None or share >= 1 else f"{share:4.0%} "
        with self._lock:
            self._lines[source] = f"{clean(source, 40)}: {done}{clean(what)}"
            self._draw()

    def _draw(self) -> None:
        width = max(shutil.get_terminal_size().columns - 1, 20)
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(up + "".join(f"\x1b[2K{line[:width]}\n" for line in self._lines.values()))
        self._stream.flush()
        self._drawn = len(self._lines)

    def clear(self) -> None:
        """Take the lines away, for what is said at the end."""
        with self._lock:
            if self._live and self._drawn:
                self._stream.write(f"\x1b[{self._drawn}F\x1b[0J")
                self._stream.flush()
            self._lines, self._drawn = {}, 0


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns side by side, the last one as long as it is."""
    body = [tuple(clean(cell, 120) for cell in row) for row in (head, *rows)]
    widths = [max(len(row[place]) for row in body) for place in range(len(head))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
                   for row in body)  # fmt: skip


def shown(answers: Sequence[Mapping[str, Any]]) -> str:
    """The answers of `show` as a table, its window above it."""
    if not answers:
        return "Nothing is configured or read yet; see `tandem init` and `tandem sync`.\n"
    window = answers[0]["window"]
    rows = [_row(one, signal) for one in answers for signal in one["signals"]]
    rows += [(one["component"], "", "", "", "", "", "", one["state"], "nothing is measured of it")
             for one in answers if not one["signals"]]  # fmt: skip
    head = ("component", "signal", "value", "of", "target", "budget left", "burn 1h", "state", "reason")
    return f"{window['from']} to {window['to']}, load {answers[0]['as_of']}\n" + table(head, rows) + _parts(answers)


def _row(one: Mapping[str, Any], signal: Mapping[str, Any]) -> tuple[str, ...]:
    objective = signal["objective"] or {}
    burn = objective.get("burn", {}).get("1h")
    return (
        one["component"], signal["signal"], _value(signal), "" if signal["total"] is None else f"{signal['total']:,}",
        _share(objective.get("target")), _share(objective.get("budget_left")),
        "" if burn is None else f"{burn:.1f}x", signal["state"], signal["reason"],
    )  # fmt: skip


def _value(signal: Mapping[str, Any]) -> str:
    share = wording.percent(signal["good"], signal["total"]) if signal["good"] is not None and signal["total"] else ""
    p95 = (signal["quantiles"] or {}).get("p95")
    if p95 is None or signal["signal"] == "score":
        return share
    known = built_in().get(signal["signal"])
    text = wording.seconds(p95) if known is not None and known.unit == "s" else f"{p95:.3g}"
    return f"{share}, p95 {text}" if share else f"p95 {text}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.4g} %"


def _promised(one: Mapping[str, Any]) -> str:
    """What it promises with others, and what left the counts of its objectives."""
    said = ""
    if one["joint"]:
        head = ("together", "with", "failed", "target", "budget left", "by service", "by model", "state", "reason")
        rows = [(part["product"], part["model"] if part["service"] == one["component"] else part["service"],
                 _share(part["failure"]), _share(part["target"]), _share(part["budget_left"]),
                 _share(part["service_spent"]), _share(part["model_spent"]), part["state"], part["reason"])
                for part in one["joint"]]  # fmt: skip
        said += "\n" + table(head, rows)
    if one["corrections"]:
        left = [(part["since"], part["until"], part["origin"], part["author"], part["reason"])
                for part in one["corrections"]]  # fmt: skip
        said += "\n" + table(("left out from", "to", "as", "author", "reason"), left)
    return said


def _parts(answers: Sequence[Mapping[str, Any]]) -> str:
    """Quality, versions and newest changes, where one component was asked for."""
    if len(answers) != 1:
        return ""
    said = ""
    quality = {name: value for name, value in (answers[0]["quality"] or {}).items() if value is not None}
    if quality.get("predictions") or quality.get("labels"):
        said += "\n" + table(("quality", "", "interval"), _measures(quality))
    said += _promised(answers[0])
    if answers[0]["versions"]:
        rows = [(one["version"], one["created"], ", ".join(one["aliases"])) for one in answers[0]["versions"][-10:]]
        said += "\n" + table(("version", "created", "aliases"), rows)
    said += _delivery(answers[0].get("delivery"))
    said += _retrained(answers[0].get("training"))
    if answers[0]["events"]:
        events = answers[0]["events"][-10:]
        changes = [(one["ts"], one["kind"], one["version"] or "", one["title"] or one["key"]) for one in events]
        said += "\n" + table(("when", "change", "version", "what"), changes)
    return said


def _retrained(found: Mapping[str, Any] | None) -> str:
    """What followed each onset of drift or breach of a model, the newest last; its sentence where there is none."""
    if not found:
        return ""
    rows = [(one["since"], _onset(one), _started(one), _promoted(one), *_effect(effect))
            for one in reversed(found["onsets"][:10]) for effect in one["effects"]]  # fmt: skip
    head = ("onset", "of", "training", "promoted", "measure", "before", "after", "difference (95 %)", "so it is")
    return f"\n{clean(found['sentence'])}\n" + (table(head, rows) if rows else "")


def _onset(one: Mapping[str, Any]) -> str:
    return ", ".join(one["features"]) if one["kind"] == "drift" else f"breach of {one['objective']}"


def _started(one: Mapping[str, Any]) -> str:
    training = one["training"]
    if training is None:
        return "not known" if one["unknown"] else "none"
    by = {None: "not said", "other": f"other: {training['trigger']}"}.get(training["by"], training["by"])
    return f"{training['started']} by {by}" + (f", 1 of {one['trainings']}" if one["trainings"] > 1 else "")


def _promoted(one: Mapping[str, Any]) -> str:
    promotion = one["promotion"]
    if promotion is None:
        return ""
    since, until = promotion["interval"]["from"], promotion["interval"]["to"]
    return f"{promotion['version'] or '?'} at {since}" if since == until else (
        f"{promotion['version'] or '?'} between {since} and {until}")  # fmt: skip


def _effect(one: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = (f"{_share(side['value'])} of {side['total']:,}" if side else "" for side in
                     (one["before"], one["after"]))  # fmt: skip
    ends = one["interval"]
    change = (
        f"{one['change'] * 100:+.3g} points ({ends['low'] * 100:+.3g} to {ends['high'] * 100:+.3g})" if ends else ""
    )
    told = one["state"] in ("better", "worse")
    return one["measure"] or "", before, after, change, one["state"] if told else f"{one['state']}: {one['reason']}"


def _delivery(found: Mapping[str, Any] | None) -> str:
    """The five metrics and why changes are said to have failed, where any change was ever reported."""
    if not found or not found["reported"]:
        return ""
    rows = [
        (one["name"], _duration_or_share(one), _of(one), _duration_or_share(one["before"]), _trend(one["trend"]),
         "" if one["step"] is None else f"{one['step']} of 6")
        for one in (found["metrics"][metric] for metric in METRICS)
    ]  # fmt: skip
    head = (f"delivery ({found['reading']})", "value", "of", "window before", "trend", "answer scale")
    said = "\n" + table(head, rows)
    failed = [(one["running"] or one["ts"], one["version"] or one["commit"] or "", link["kind"], link["reason"])
              for one in found["changes"] for link in one["failed"]]  # fmt: skip
    if failed:
        said += "\n" + table(("failed change", "version", "by", "why"), failed[-10:])
    if found["flaky"]:
        flaky = [(one["name"], str(one["flakes"]), _rate(one), f"{one['minutes_lost']:.3g} min", one["why"])
                 for one in found["flaky"][:10]]  # fmt: skip
        said += "\n" + table(("flaky", "flakes", "flip rate", "lost", "on the list"), flaky)
    return said


def _trend(one: Mapping[str, Any]) -> str:
    return f"{one['word']}, within chance" if one["clear"] is False else one["word"]


def _rate(one: Mapping[str, Any]) -> str:
    return "" if one["flip_rate"] is None else f"{one['flip_rate']:.3g} of {one['runs']} runs"


def _duration_or_share(one: Mapping[str, Any]) -> str:
    if one["unit"] == "s":
        return "" if one["p50"] is None else f"p50 {wording.seconds(one['p50'])}, p90 {wording.seconds(one['p90'])}"
    if one["value"] is None:
        return ""
    return f"{one['value']:.3g} per day" if one["unit"] == "per day" else f"{one['value'] * 100:.4g} %"


def _of(one: Mapping[str, Any]) -> str:
    if one["unit"] == "s":
        return f"{one['n']} of {one['of']} known" if "known_by" in one else f"{one['n']} of {one['of']} recovered"
    if one["unit"] == "per day":
        return f"{one['n']} in {one['days']:.4g} days, on {one['days_with']} of {one['days_of']}"
    return f"{one['k']} of {one['n']}"


def _measures(quality: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The measures with their intervals; lists (classes, segments, calibration) are for --json and the page."""
    intervals = quality.get("intervals", {})
    return [
        (name, _plain(value), _interval(intervals.get(name)))
        for name, value in quality.items()
        if not isinstance(value, list) and (not isinstance(value, Mapping) or "value" in value)
    ]


def _interval(found: Mapping[str, Any] | None) -> str:
    return f"{found['low']:.4g} to {found['high']:.4g} ({found['method']})" if found else ""


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['value']:.6g} ± {value['bound']:.2g}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def sources(answer: Mapping[str, Any]) -> str:
    """The answer of `sources` as a table."""
    if not answer["sources"]:
        return "No source is configured or imported; `tandem init --connector NAME` prints a block to begin with.\n"
    rows = [
        (one["name"], one["connector"], one["state"], one["newest"] or "", one["last_pull"] or "",
         _share(one["coverage"]), str(sum(n for _, _, n in one["rejects"])), one["next_step"] or one["summary"])
        for one in answer["sources"]
    ]  # fmt: skip
    return table(("source", "connector", "state", "newest", "last pull", "coverage", "rejects", "next"), rows)


def outcome(name: str, found: Mapping[str, Any]) -> str:
    """One line of what a pull or a file brought."""
    return f"{clean(name)}: {found['rows']:,} summary rows from {found['pages']:,} pages"
