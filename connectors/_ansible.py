"""What Ansible's callbacks write of a run, as one event per play; of task results only whether they worked is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from xml.etree.ElementTree import Element

from connectors import _said
from connectors._fields import Raw, count_of, inside, text_of, time_or_none
from connectors._files import digest_of
from tandem.connect import Item
from tandem.records import Event, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "ok": "good",
    "failed": "bad",
    "unreachable": "bad",
    "no hosts": "excluded",
    "unfinished": "open",
    "successful": "good",
    "error": "bad",
    "canceled": "excluded",
    "new": "open",
    "pending": "open",
    "waiting": "open",
    "running": "open",
}
"""Of plays, and of AWX jobs in AWX's own words."""
REPORT = re.compile(r'<testcase\s[^>]*classname="[^"]*\.ya?ml:\d+"[^>]*\sname="\[[^"\]]+\] ')
"""How a test case of Ansible's junit callback begins: the place of its task, then its host."""
_CASE = re.compile(r"\[([^\]]+)\] (.*?): ")
_WRITTEN = re.compile(r"-(\d{9,10})\.\d+\.xml")
_TEXT = 200
RESULTS = {
    "v2_runner_on_ok": "", "v2_runner_on_failed": "failed", "v2_runner_on_unreachable": "unreachable",
    "v2_runner_on_skipped": "skipped",
}  # fmt: skip


class Said(_said.Said):
    """What was left out or needs a remark, and what a status means."""

    meanings = STATUS


@dataclass
class Counts:
    """Hosts of one play, those of them that failed or were never reached, and results of tasks."""

    hosts: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    changed: int = 0
    ignored: int = 0
    rescued: int = 0
    handled: int = 0
    """Failures that were ignored or rescued, where it is not known which."""
    retried: int = 0

    def labels(self) -> dict[str, object]:
        told = {"hosts": len(self.hosts), "changed": self.changed, "failed": len(self.failed),
                "unreachable": len(self.unreachable), "ignored": self.ignored, "rescued": self.rescued}  # fmt: skip
        return {**told, "handled": self.handled or None, "retried": self.retried or None}

    def said(self) -> str:
        """What became of the hosts, in words."""
        bad = [f"{len(some)} {word}" for some, word in ((self.failed, "failed"), (self.unreachable, "unreachable"))
               if some]  # fmt: skip
        if bad:
            return f"of {len(self.hosts)} hosts {' and '.join(bad)}"
        return f"{len(self.hosts)} hosts, {self.changed} changes" if self.hosts else "no hosts"

    def status(self) -> str:
        if not self.hosts:
            return "no hosts"
        return "failed" if self.failed else "unreachable" if self.unreachable else "ok"


@dataclass
class _Play:
    """One play while its run is read."""

    name: str
    id: str
    path: str
    start: int
    end: int
    counts: Counts = field(default_factory=Counts)


@dataclass
class Run:
    """One run of a playbook: its plays in order, and the results that were no success, in order, by host."""

    plays: list[_Play] = field(default_factory=list)
    lapses: dict[tuple[str, str], list[tuple[_Play, bool]]] = field(default_factory=dict)
    """(host, "failed" or "unreachable") -> the play of each such result, and whether it changed something."""
    stats: Raw | None = None

    def play(self, raw: Any, said: Said) -> None:
        """A play begins."""
        play = raw if isinstance(raw, dict) else {}
        start = time_or_none(inside(play, "duration"), "start")
        if start is None:
            said.reject("a play has no time of its beginning; its callback is too old")
            self.plays.append(_Play("", "", "", 0, 0))
            return
        end = time_or_none(inside(play, "duration"), "end") or start
        self.plays.append(_Play(text_of(play, "name"), text_of(play, "id"), text_of(play, "path"), start, end))

    def task(self, raw: Raw, how: str | None = None) -> None:
        """Results of one task on some hosts; `how` where the callback says it apart."""
        if not self.plays:
            return
        play = self.plays[-1]
        play.end = max(play.end, time_or_none(inside(inside(raw, "task"), "duration"), "end") or 0)
        for host, result in inside(raw, "hosts").items():
            if isinstance(result, dict):
                self._result(play, host, result, how)

    def _result(self, play: _Play, host: str, result: Raw, how: str | None) -> None:
        play.counts.hosts.add(host)
        attempts = result.get("attempts")
        play.counts.retried += isinstance(attempts, int) and attempts > 1
        kind = "unreachable" if result.get("unreachable") is True else "failed" if result.get("failed") is True else ""
        kind = kind or (how if how in ("failed", "unreachable") else "") or ""
        if kind:
            self.lapses.setdefault((host, kind), []).append((play, result.get("changed") is True))
        elif result.get("changed") is True:
            play.counts.changed += 1

    def events(self, said: Said) -> Iterator[Event]:
        """The plays as events; a run that has not told its end is open."""
        self._settle()
        for play in self.plays:
            if not play.start:
                continue
            status = play.counts.status() if self.stats is not None else "unfinished"
            outcome = said.outcome(status)
            yield _event(play, outcome, status)

    def _settle(self) -> None:
        """Which failures stood: a host that failed for good did so last, what came before was ignored or rescued."""
        for (host, kind), lapses in self.lapses.items():
            if self.stats is None:
                continue
            told = inside(self.stats, host)
            stood = min(count_of(told, "failures" if kind == "failed" else "unreachable"), len(lapses))
            for play, _ in lapses[len(lapses) - stood :]:
                (play.counts.failed if kind == "failed" else play.counts.unreachable).add(host)
            self._pass(lapses[: len(lapses) - stood], told)

    def _pass(self, lapses: list[tuple[_Play, bool]], told: Raw) -> None:
        """Failures after which a host went on; as in Ansible's recap an ignored one may have changed something."""
        ignored, rescued = count_of(told, "ignored"), count_of(told, "rescued")
        plays = [play for play, _ in lapses]
        for play, changed in lapses:
            if not rescued:
                play.counts.ignored += 1
                play.counts.changed += changed
            elif not ignored:
                play.counts.rescued += 1
        if ignored and rescued and len(set(map(id, plays))) == 1:
            plays[0].counts.ignored += ignored
            plays[0].counts.rescued += len(plays) - ignored
        elif ignored and rescued:
            for play in plays:
                play.counts.handled += 1


def runs(documents: Iterable[Any], said: Said) -> Iterator[Run]:
    """The runs of a file of the json or the jsonl callback, which may hold several behind one another."""
    run = Run()
    for document in documents:
        if not isinstance(document, dict):
            said.reject("what is there is no object of Ansible's callbacks")
        elif "_event" in document:
            event = str(document["_event"])
            if event == "v2_playbook_on_start" and run.plays:
                yield run
                run = Run()
            _line(run, event, document, said)
            if run.stats is not None:
                yield run
                run = Run()
        elif isinstance(document.get("plays"), list):
            yield _whole(document, said)
        else:
            said.reject("what is there is no object of Ansible's callbacks")
    if run.plays:
        said.remark("a run has not told its end: it goes on, or broke off")
        yield run


def _line(run: Run, event: str, document: Raw, said: Said) -> None:
    if event == "v2_playbook_on_play_start":
        run.play(document.get("play"), said)
    elif event in RESULTS:
        run.task(document, RESULTS[event])
    elif event == "v2_playbook_on_stats":
        run.stats = inside(document, "stats")


def _whole(document: Raw, said: Said) -> Run:
    run = Run()
    for raw in document["plays"]:
        play = raw if isinstance(raw, dict) else {}
        run.play(play.get("play"), said)
        tasks = play.get("tasks")
        for task in tasks if isinstance(tasks, list) else []:
            if isinstance(task, dict):
                run.task(task)
    run.stats = inside(document, "stats")
    return run


def _event(play: _Play, outcome: Outcome, status: str) -> Event:
    told = {"play": play.name, "playbook": playbook(play.path), **play.counts.labels(), "status": status}
    return Event(
        "infrastructure", f"{play.id}:{play.start}", play.start, started=play.start,
        ended=None if outcome == "open" else play.end, outcome=outcome,
        title=f"{play.name[:_TEXT]}: {play.counts.said()}", labels=labels_of(told), revision=play.end,
    )  # fmt: skip


def playbook(path: str) -> str:
    """The file's name of "/srv/ci/play.yml:12"."""
    return PurePath(re.sub(r":\d+$", "", path)).name


# -- the junit callback


def report(item: Item, parsed: Iterable[tuple[str, Element]], said: Said) -> Iterator[Event]:
    """The plays of one file of the junit callback: it knows neither the beginning nor what could not be reached."""
    plays: dict[str, tuple[Counts, float]] = {}
    book = ""
    for event, element in parsed:
        tag = element.tag.rpartition("}")[2]
        if event == "end" and tag == "testcase":
            match = _CASE.match(element.get("name", ""))
            name = match[2] if match else ""
            book = book or playbook(element.get("classname", ""))
            counts, lasted = plays.get(name, (Counts(), 0.0))
            if match:
                _case(element, match[1], counts)
            else:
                said.reject("a test case names no host; it is none of Ansible's")
                continue
            plays[name] = counts, lasted + _seconds(element.get("time", ""))
            element.clear()
    end = _written(item, said)
    for name, (counts, lasted) in plays.items():
        told = {"play": name, "playbook": book, **counts.labels(), "changed": None, "ignored": None, "rescued": None,
                "unreachable": None, "status": counts.status()}  # fmt: skip
        # Tasks run on many hosts at once: together they lasted at least as long as the play did.
        yield Event("infrastructure", f"{digest_of(item)[:16]}:{name}", end - int(lasted), ts_latest=end,
                    outcome=said.outcome(counts.status()), title=f"{name[:_TEXT]}: {counts.said()}",
                    labels=labels_of(told), revision=end)  # fmt: skip


def _case(element: Element, host: str, counts: Counts) -> None:
    children = {child.tag.rpartition("}")[2] for child in element}
    counts.hosts.add(host)
    if children & {"failure", "error"}:
        counts.failed.add(host)


def _written(item: Item, said: Said) -> int:
    """When a report was written: its name says it."""
    match = _WRITTEN.search(PurePath(item.name).name)
    if match:
        return int(match[1])
    if item.given.at is not None:
        return item.given.at
    said.remark("no time in the name of the report; the time of the file's last change is taken")
    return item.modified


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value < 86400 * 30 else 0.0
