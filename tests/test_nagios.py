"""Nagios: single checks, soft and hard states, flapping, downtimes, three sets of codes, its files and its CGIs."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from connectors import nagios
from connectors._files import item
from connectors._nagios import STATUS, Zone
from connectors._nagios_perfdata import Measured, duration, measured
from tandem import connect, place, template, times
from tandem.bins import total
from tandem.config import parse
from tandem.connect import Common, Given, Pull, Rule, SourceRefused
from tandem.intervals import union
from tandem.records import DAY, Event, Histogram, Page, Ratio
from tests.nagios_server import Look, Nagios, human
from tests.replay import Answer, Server, serve

HERE = Path(__file__).parent / "payloads" / "nagios"
NOW = 1_795_000_200
BEGAN = NOW - 7200


@pytest.fixture
def running() -> Nagios:
    return Nagios(NOW, began=BEGAN)


@pytest.fixture
def server(running: Nagios) -> Iterator[Server]:
    with serve(running.answer) as found:
        yield found


def configured(url: str = "", path: Path | None = None, **more: Any) -> nagios.Config:
    common = replace(Common("nagios", "nagios", component=("shop",)), **more.pop("common", {}))
    return nagios.Config(common, url=url, path=path, **more)


class Keeper:
    """What the core keeps: slices by name, the newest word on each event, and the state."""

    def __init__(self, config: nagios.Config, running: Nagios | None = None) -> None:
        self.config, self.running = config, running
        self.slices: dict[str, tuple[str, Page]] = {}
        self.events: dict[tuple[str, str], Event] = {}
        self.state: Any = None
        self.watermark: int | None = None
        self.pages: list[Page] = []

    def pull(self, now: int, *, since: int | None = None, **more: Any) -> list[Page]:
        if self.running is not None:
            self.running.now = now
        first = self.watermark is None
        begin = since if since is not None else BEGAN if self.watermark is None else self.watermark - 600
        still = tuple(one for one in self.events.values() if one.outcome == "open")
        pull = Pull(begin, now, now, **{"state": self.state, "open": still, "first": first, **more})
        return self.take(list(nagios.fetch(self.config, pull)), now)

    def take(self, pages: list[Page], now: int) -> list[Page]:
        said: dict[tuple[str, str], Event] = {}
        self.pages = pages
        for page in pages:
            if page.slice:
                self.slices[page.slice.name] = (page.slice.digest, page)
            for event in (one for one in page.records if isinstance(one, Event)):
                key = (event.kind, event.key)
                assert said.setdefault(key, event) == event, "two values for one key in one pull"
                known = self.events.get(key)
                if known is None or known.revision <= event.revision:
                    self.events[key] = event
            if page.state is not None:
                self.state = json.loads(json.dumps(page.state))
        self.watermark = now
        return pages

    def ratios(self) -> dict[tuple[str, str, int], Ratio]:
        return self._summed("availability")

    def latencies(self) -> dict[tuple[str, str, int], Histogram]:
        return self._summed("latency")

    def _summed(self, signal: str) -> dict[tuple[str, str, int], Any]:
        found: dict[tuple[str, str, int], Any] = {}
        for _, page in self.slices.values():
            for fact in page.records:
                assert not isinstance(fact, Event)
                if fact.series.signal == signal:
                    told = dict(fact.series.labels)
                    key = (told["host"], told.get("service", ""), fact.ts)
                    found[key] = found[key] + fact.value if key in found else fact.value
        return found

    def told(self, kind: str) -> list[tuple[str, int, int | None, str]]:
        return sorted((dict(e.labels).get("service", ""), e.ts, e.ended, e.outcome)
                      for e in self.events.values() if e.kind == kind)  # fmt: skip


def truth(running: Nagios, until: int = NOW) -> dict[tuple[str, str, int], Ratio]:
    """Good and all of the checks themselves, by bucket."""
    found: dict[tuple[str, str, int], Ratio] = defaultdict(Ratio)
    for (host, service), looks in running.looks.items():
        for look in looks:
            if look.ts < until and look.word not in ("unknown", "unreachable"):
                good = look.word in ("ok", "warning", "up")
                found[host, service, look.ts // 300 * 300] += Ratio(int(good), 1)
    return dict(found)


def busy(running: Nagios, seed: int = 3) -> Nagios:
    """Two hours of four checks that come and go."""
    chance = random.Random(seed)
    for host, service, every, words in (
        ("checkout-01", "HTTP", 60, ("ok", "ok", "critical", "warning")),
        ("checkout-01", "Load", 90, ("ok", "warning", "critical", "unknown")),
        ("checkout-01", "", 75, ("up", "up", "down")),
        ("ghost-01", "", 120, ("up", "down", "unreachable")),
    ):
        word = words[0]
        for ts in range(BEGAN + chance.randrange(1, 60), NOW, every):
            if chance.random() < 0.2:
                word = chance.choice(words)
            running.check(host, service, ts, word, f"time={chance.random():.6f}s;;;0;10 size=5B;;;0")
    return running


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def parsed(path: Path, config: nagios.Config | None = None, **given: Any) -> list[Page]:
    return list(nagios.parse(item(path, Given(**given)), config or configured()))


def events(pages: list[Page]) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event)]


# -- following its files


def test_every_check_counts_at_its_own_time(running: Nagios, tmp_path: Path) -> None:
    """The performance data say when, the log says how it ended: two hours equal the checks themselves."""
    busy(running).write(tmp_path, NOW)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW + 60)
    assert kept.ratios() == truth(running)
    assert sum(one.total for one in kept.ratios().values()) > 200
    assert (
        0.3 < sum(one.good for one in kept.ratios().values()) / sum(one.total for one in kept.ratios().values()) < 0.95
    )
    good = sum(one.good for one in kept.ratios().values())
    assert sum(total(one) for one in kept.latencies().values()) == good  # failed checks stay out of latency
    micros = sum(one for value in kept.latencies().values() for one in value.sums.values())
    digits = next(iter(kept.latencies().values())).layout.digits or 0
    wanted = sum(Fraction(look.perfdata.split("=")[1].split("s")[0]) for looks in running.looks.values()
                 for look in looks if look.word in ("ok", "up", "warning"))  # fmt: skip
    assert abs(Fraction(micros, 10**digits) - wanted) <= Fraction(good, 10**digits)


def test_pulls_in_any_rhythm_and_a_lost_state_count_the_same(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    for lose in (None, 4):
        kept = Keeper(configured(path=tmp_path))
        for step, now in enumerate(range(BEGAN + 333, NOW, 777)):
            running.write(tmp_path, now)
            if step == lose:
                kept.state = None
            kept.pull(now)
        running.write(tmp_path, NOW)
        kept.pull(NOW + 60)
        assert kept.ratios() == truth(running)


def test_a_second_pull_reads_only_what_is_new(
    running: Nagios, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy(running)
    running.write(tmp_path, NOW - 300)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW - 300)
    before = set(kept.slices)
    running.write(tmp_path, NOW)
    pages = kept.pull(NOW)
    again = sum(fact.value.total for page in pages for fact in page.records
                if not isinstance(fact, Event) and isinstance(fact.value, Ratio))  # fmt: skip
    whole = sum(one.total for one in truth(running).values())
    print(f"second pull: {again} checks read of {whole}; fewest possible {whole - sum(1 for _ in before)}")
    assert again < whole / 8
    assert len({page.slice.name for page in pages if page.slice} & before) == 1


def test_a_file_that_is_renamed_is_read_to_its_end(running: Nagios, tmp_path: Path) -> None:
    """Its first line says which it is; the new file under its name begins anew, and shares a bucket with it."""
    busy(running)
    running.write(tmp_path, NOW - 3000)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW - 3000)
    middle = NOW - 1234
    running.write(tmp_path, middle)
    (tmp_path / "service-perfdata").rename(tmp_path / "service-perfdata.1")
    running.write(tmp_path, NOW)
    (tmp_path / "service-perfdata").write_text("\n".join(running.perfdata_lines(NOW, middle)) + "\n")
    kept.pull(NOW + 60)
    assert kept.ratios() == truth(running)
    assert [gap for page in kept.pages for gap in page.gaps] == []


def test_a_file_that_is_taken_away_leaves_a_gap(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    running.write(tmp_path, NOW - 3000)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW - 3000)
    running.write(tmp_path, NOW)
    (tmp_path / "service-perfdata").write_text("\n".join(running.perfdata_lines(NOW, NOW - 1200)) + "\n")
    kept.pull(NOW + 60)
    (gap,) = [gap for page in kept.pages for gap in page.gaps]
    assert NOW - 3100 < gap.since < NOW - 3000
    assert NOW - 1200 - 120 <= gap.until < NOW - 1100  # one interval before the first line that is there
    assert gap.reason == "a file of performance data was taken away unread"


def test_a_stretch_without_checks_is_not_vouched_for(running: Nagios, tmp_path: Path) -> None:
    """A check vouches for the time since the one before it, however the pulls fall; a silence for nothing."""
    for n in [*range(20), *range(50, 70)]:
        running.check("checkout-01", "HTTP", BEGAN + 60 * n, "ok")
    running.check("ghost-01", "", BEGAN + 10, "up")
    for pulls in ((BEGAN + 5000,), tuple(range(BEGAN + 200, BEGAN + 5001, 480))):
        kept = Keeper(configured(path=tmp_path, common={"component": (), "map": RULES}))
        covered: list[tuple[int, int]] = []
        for now in pulls:
            running.write(tmp_path, now)
            kept.pull(now)
            told = [one for page in kept.pages for one in page.covered or ()]
            assert {one.component for one in told} <= {"checkout-api"}
            covered += [(one.since, one.until) for one in told]
        assert union(covered) == [
            (BEGAN - 60, BEGAN + 1140), (BEGAN + 2940, BEGAN + 4140),
        ]  # fmt: skip


def test_a_line_that_is_being_written_waits(running: Nagios, tmp_path: Path) -> None:
    running.check("checkout-01", "HTTP", NOW - 300, "ok")
    running.check("checkout-01", "HTTP", NOW - 200, "ok")
    running.write(tmp_path, NOW)
    whole = (tmp_path / "service-perfdata").read_text()
    (tmp_path / "service-perfdata").write_text(whole[:-20])
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW)
    assert sum(one.total for one in kept.ratios().values()) == 1
    (tmp_path / "service-perfdata").write_text(whole)
    kept.pull(NOW + 60)
    assert sum(one.total for one in kept.ratios().values()) == 2
    assert reasons(kept.pages) == {}


def test_the_log_rotates_and_repeats_its_states(running: Nagios, tmp_path: Path) -> None:
    """An incident goes over the rotation; the states that a log begins with are no new incident."""
    busy(running)
    middle = NOW - 4000
    running.write(tmp_path, NOW)
    whole = Keeper(configured(path=tmp_path))
    whole.pull(NOW + 60)
    (tmp_path / "archives").mkdir()
    first = running.log_lines(middle)
    (tmp_path / "archives" / "nagios-11-18-2026-00.log").write_text("\n".join(first) + "\n")
    (tmp_path / "nagios.log").write_text("\n".join(running.log_lines(NOW, middle, "CURRENT")) + "\n")
    rotated = Keeper(configured(path=tmp_path))
    rotated.pull(NOW + 60)
    assert rotated.told("incident") == whole.told("incident")
    assert rotated.ratios() == whole.ratios()
    (tmp_path / "archives" / "nagios-11-18-2026-00.log").unlink()
    later = Keeper(configured(path=tmp_path))
    later.pull(NOW + 60, first=False)
    assert set(later.told("incident")) < set(whole.told("incident"))


# -- incidents


def test_an_incident_is_a_hard_state_and_its_end_another(running: Nagios, tmp_path: Path) -> None:
    for n, word in enumerate(("ok", "critical", "ok", "critical", "critical", "critical", "warning", "critical", "ok")):
        running.check("checkout-01", "HTTP", NOW - 1000 + 60 * n, word)
    for n, word in enumerate(("up", "down", "down", "unreachable", "up", "down", "down")):
        running.check("checkout-01", "", NOW - 1000 + 60 * n, word)
    for n in range(4):
        running.check("checkout-01", "Odd", NOW - 1000 + 60 * n, "unknown")
    running.write(tmp_path, NOW)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW)
    at = NOW - 1000
    assert kept.told("incident") == [
        ("", at + 120, at + 180, "bad"),
        ("", at + 360, None, "open"),
        ("HTTP", at + 240, at + 360, "bad"),  # WARNING is good, so it ended there
        ("HTTP", at + 420, at + 480, "bad"),
    ]
    one = kept.events["incident", f"checkout-01;HTTP;{at + 240}"]
    assert one.title == "checkout-01: HTTP is CRITICAL: critical says the plugin"
    assert dict(one.labels) == {"host": "checkout-01", "service": "HTTP", "check": "service", "state": "critical"}


def test_while_a_check_flaps_its_incident_goes_on(running: Nagios, tmp_path: Path) -> None:
    words = ("ok", "critical", "critical", "ok", "critical", "critical", "ok", "ok", "ok")
    for n, word in enumerate(words):
        running.check("checkout-01", "HTTP", NOW - 1000 + 60 * n, word)
    running.write(tmp_path, NOW)
    calm = Keeper(configured(path=tmp_path))
    calm.pull(NOW)
    at = NOW - 1000
    assert [one[1:3] for one in calm.told("incident")] == [(at + 120, at + 180), (at + 300, at + 360)]
    running.flaps = [(at + 130, "checkout-01", "HTTP", True), (at + 400, "checkout-01", "HTTP", False)]
    running.write(tmp_path, NOW)
    flapping = Keeper(configured(path=tmp_path))
    flapping.pull(NOW)
    assert [one[1:3] for one in flapping.told("incident")] == [(at + 120, at + 400)]
    assert flapping.ratios() == calm.ratios()


def test_a_state_is_good_or_bad_as_the_configuration_says(running: Nagios, tmp_path: Path) -> None:
    running.check("checkout-01", "HTTP", NOW - 300, "warning")
    running.check("checkout-01", "HTTP", NOW - 240, "warning")
    running.check("checkout-01", "Odd", NOW - 300, "unknown")
    running.write(tmp_path, NOW)

    def counted(**status: str) -> tuple[int, int, int]:
        kept = Keeper(configured(path=tmp_path, common={"status": status}))
        kept.pull(NOW)
        every = list(kept.ratios().values())
        return sum(one.good for one in every), sum(one.total for one in every), len(kept.told("incident"))

    assert counted() == (2, 2, 0)
    assert counted(warning="bad") == (0, 2, 1)
    assert counted(unknown="bad", warning="excluded") == (0, 1, 0)


def test_an_unknown_state_is_excluded_and_counted(tmp_path: Path) -> None:
    lines = ["[1795000000] SERVICE ALERT: a;b;MELTED;HARD;1;hot", "[1795000060] SERVICE ALERT: a;b;OK;HARD;1;fine"]
    (tmp_path / "nagios.log").write_text("\n".join(lines) + "\n")
    pages = parsed(tmp_path / "nagios.log")
    assert events(pages) == []
    said = 'the state "melted" is unknown; what has it is excluded, or name it in [source.status]'
    assert reasons(pages)[said] >= 1
    assert len(events(parsed(tmp_path / "nagios.log", configured(common={"status": {"melted": "bad"}})))) == 1


# -- downtimes


def test_a_downtime_is_maintenance_and_its_checks_still_count(running: Nagios, tmp_path: Path) -> None:
    for n in range(10):
        running.check("checkout-01", "HTTP", NOW - 1000 + 60 * n, "critical" if n in (4, 5, 6) else "ok")
    running.downtime("checkout-01", "HTTP", NOW - 800, NOW - 500)
    running.downtime("checkout-01", "", NOW - 100, NOW + 500, 2, "a new kernel")
    running.write(tmp_path, NOW)
    kept = Keeper(configured(path=tmp_path))
    kept.pull(NOW)
    assert kept.told("maintenance") == [
        ("", NOW - 100, None, "open"), ("HTTP", NOW - 800, NOW - 500, "good"),
    ]  # fmt: skip
    assert kept.ratios() == truth(running)
    still = kept.events["maintenance", f"checkout-01;;{NOW - 100}"]
    assert (still.actor, still.title, dict(still.labels)["planned_end"]) == (
        "ada", "a new kernel", times.text(NOW + 500),
    )  # fmt: skip
    running.downtimes[1]["stopped"] = NOW + 90  # it is cancelled
    running.write(tmp_path, NOW + 300)
    kept.pull(NOW + 300)
    assert kept.told("maintenance")[0] == ("", NOW - 100, NOW + 90, "good")


RULES = (
    Rule(("checkout-api",), {"host": "checkout-*", "service": "HTTP*"}),
    Rule(("database",), {"host": "checkout-*", "service": "MySQL"}, environment="staging"),
)


def test_a_downtime_of_a_host_concerns_every_component_on_it(running: Nagios, server: Server, tmp_path: Path) -> None:
    running.check("checkout-01", "", NOW - 100, "up")
    running.downtime("checkout-01", "", NOW - 300, NOW + 200)
    running.downtime("checkout-01", "MySQL", NOW - 400, NOW + 200, 2)
    running.downtime("checkout-01", "Disk", NOW - 500, NOW + 200, 3)
    running.write(tmp_path, NOW)
    common = {"component": (), "map": RULES}
    for config in (configured(server.url, common=common), configured(path=tmp_path, common=common)):
        kept = Keeper(config, running)
        kept.pull(NOW)
        found = sorted(
            (one.ts, one.components, one.environment)
            for event in kept.events.values() if (one := place.event_of(event, config.common))
        )  # fmt: skip
        assert found == [
            (NOW - 400, ("database",), "staging"), (NOW - 300, ("checkout-api",), "production"),
            (NOW - 300, ("database",), "staging"),
        ]  # fmt: skip
        running.downtimes[0]["stopped"] = NOW + 100
        running.write(tmp_path, NOW + 300)
        kept.pull(NOW + 300)
        assert {e.outcome for e in kept.events.values() if e.ts == NOW - 300} == {"good"}
        assert all((e.ended or 0) in (NOW + 100, NOW + 200) for e in kept.events.values() if e.ts == NOW - 300)
        running.downtimes[0]["stopped"] = NOW + 200
        running.write(tmp_path, NOW)


# -- the JSON CGIs


def test_each_result_is_counted_once_however_often_it_is_seen(running: Nagios, server: Server) -> None:
    busy(running)
    for step in (60, 100, 290):
        kept = Keeper(configured(server.url), running)
        for now in range(BEGAN + 150, NOW, step):
            kept.pull(now)
        counted, whole = kept.ratios(), truth(running)
        assert all(one.total <= whole[key].total and one.good <= whole[key].good for key, one in counted.items())
        seen = sum(one.total for one in counted.values()) / sum(one.total for one in whole.values())
        assert seen > (0.95 if step == 60 else 0.2)
        assert seen < 1


def test_incidents_of_the_archive_equal_those_of_the_log(running: Nagios, server: Server, tmp_path: Path) -> None:
    busy(running)
    running.write(tmp_path, NOW)
    files = Keeper(configured(path=tmp_path))
    files.pull(NOW)
    once = Keeper(configured(server.url), running)
    once.pull(NOW)
    often = Keeper(configured(server.url), running)
    for now in [*range(BEGAN + 150, NOW, 290), NOW]:
        often.pull(now)
    assert len(files.told("incident")) > 5
    assert once.told("incident") == files.told("incident")
    assert often.told("incident") == files.told("incident")
    assert set(once.events) == set(files.events)


def test_what_the_archive_lost_is_put_right_by_the_present(running: Nagios, server: Server) -> None:
    for n in range(10):
        running.check("checkout-01", "HTTP", NOW - 1000 + 60 * n, "critical" if n >= 3 else "ok")
    running.forgets = NOW
    kept = Keeper(configured(server.url), running)
    kept.pull(NOW)
    at = NOW - 1000 + 60 * 4
    assert kept.told("incident") == [("HTTP", at, None, "open")]
    running.check("checkout-01", "HTTP", NOW + 30, "ok")
    running.forgets = NOW + 1000
    kept.pull(NOW + 300)
    assert kept.told("incident") == [("HTTP", at, NOW + 30, "bad")]
    kept.pull(NOW + 600)
    assert kept.told("incident") == [("HTTP", at, NOW + 30, "bad")]


def test_an_incident_of_a_check_that_is_gone_ends_with_it(running: Nagios, server: Server) -> None:
    for n in range(4):
        running.check("checkout-01", "HTTP", NOW - 1000 + 60 * n, "critical")
    running.check("checkout-01", "", NOW - 100, "up")
    kept = Keeper(configured(server.url), running)
    kept.pull(NOW)
    del running.looks["checkout-01", "HTTP"]
    kept.pull(NOW + 300)
    assert [(one[2], one[3]) for one in kept.told("incident")] == [(NOW + 299, "bad")]
    assert "an incident is open of a check that is no longer there; it ends with it" in reasons(kept.pages)


def test_a_nagios_that_stopped_vouches_for_nothing(running: Nagios, server: Server) -> None:
    running.check("checkout-01", "HTTP", NOW - 100, "ok")
    running.check("checkout-01", "", NOW - 100, "up")
    kept = Keeper(configured(server.url), running)
    kept.pull(NOW)
    assert [(one.since, one.until) for one in kept.pages[-1].covered or ()] == [(NOW - 300, NOW)]
    running.stopped = NOW
    pages = kept.pull(NOW + 3600)
    assert pages[-1].covered == ()
    assert [(gap.since, gap.until, gap.reason) for gap in pages[-1].gaps] == [
        (NOW, NOW + 3600, "Nagios writes no status any more")
    ]
    assert len(kept.ratios()) == 2


def test_a_pull_that_comes_late_is_a_gap_and_a_lost_state_counts_nothing_twice(running: Nagios, server: Server) -> None:
    busy(running)
    for host, service in list(running.looks):
        running.looks[host, service] += [Look(ts, "ok" if service else "up") for ts in range(NOW + 20, NOW + 7200, 60)]
    kept = Keeper(configured(server.url), running)
    kept.pull(NOW)
    late = kept.pull(NOW + 3600)
    assert [(gap.since, gap.until) for gap in late[-1].gaps] == [(NOW, NOW + 3000)]
    kept.state = None
    lost = kept.pull(NOW + 3630)
    assert not [page for page in lost if page.slice]
    assert [gap.reason for gap in lost[-1].gaps] == ["what was counted before is not known; counting goes on from here"]
    kept.pull(NOW + 3700)
    assert all(one.total <= truth(running, NOW + 9999)[key].total for key, one in kept.ratios().items())


def test_a_second_pull_makes_the_fewest_requests(
    running: Nagios, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    busy(running)
    kept = Keeper(configured(server.url), running)
    kept.pull(NOW, since=NOW - 90 * DAY)
    assert running.asked.count("archivejson.cgi alertlist") == 13  # weeks
    running.asked.clear()
    kept.pull(NOW + 300)
    fewest = ["archivejson.cgi alertlist", "statusjson.cgi downtimelist", "statusjson.cgi hostlist",
              "statusjson.cgi servicelist"]  # fmt: skip
    print(f"second pull: {len(running.asked)} requests, fewest possible {len(fewest)}")
    assert sorted(running.asked) == fewest
    assert "fewest possible 4" in capsys.readouterr().out


def test_an_error_of_the_cgi_is_a_sentence(running: Nagios) -> None:
    told = {"result": {"type_code": 3, "type_text": "File Error", "message": "Unable to read the status file."},
            "data": {}}  # fmt: skip
    with (
        serve(lambda asked: Answer(told)) as broken,
        pytest.raises(
            SourceRefused, match=r'archivejson.cgi cannot answer alertlist \("Unable to read the status file"'
        ),
    ):
        Keeper(configured(broken.url), running).pull(NOW)


def test_the_token_is_a_login_unless_said_otherwise(
    running: Nagios, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGIN", "dXNlcjpzZWNyZXQ=")
    for more, sent in (({}, "Basic dXNlcjpzZWNyZXQ="), ({"auth": "bearer"}, "Bearer dXNlcjpzZWNyZXQ=")):
        kept = Keeper(configured(server.url, common={"token_env": "LOGIN"}, **more), running)
        kept.pull(NOW)
        assert server.asked[-1].headers["authorization"] == sent
        assert "dXNlcjpzZWNyZXQ" not in repr(kept.pages)


# -- codes


def test_the_three_sets_of_codes_say_the_same(running: Nagios, server: Server, tmp_path: Path) -> None:
    """status.dat, statusjson.cgi and archivejson.cgi, with words or with numbers."""
    for service, word in (("A", "ok"), ("B", "warning"), ("C", "critical"), ("D", "unknown")):
        for ts in (NOW - 200, NOW - 100):
            running.check("web", service, ts, word)
    for ts in (NOW - 200, NOW - 100):
        running.check("web", "", ts, "down")
    wanted = {("web", "", NOW - 100): (0, 1), ("web", "A", NOW - 100): (1, 1), ("web", "B", NOW - 100): (1, 1),
              ("web", "C", NOW - 100): (0, 1)}  # fmt: skip
    found = Keeper(configured(server.url), running)
    found.pull(NOW)
    (tmp_path / "status.dat").write_text("\n".join(running.status_lines()) + "\n")
    dat = Keeper(configured(path=tmp_path / "status.dat"))
    dat.pull(NOW + 1)
    for words in (True, False):
        running.enumerates = words
        numbers = Keeper(configured())
        pages = []
        for query in ("servicelist", "hostlist"):
            asked = [("query", query), ("details", "true"), *([("formatoptions", "enumerate")] if words else [])]
            file = tmp_path / f"{query}.json"
            file.write_text(json.dumps(running.answer(_asked("statusjson.cgi", asked)).body))
            pages += parsed(file)
        numbers.take(pages, NOW)
        every = {(h, s, NOW - 100): (v.good, v.total) for (h, s, _), v in numbers.ratios().items()}
        assert every == wanted
        asked = [("query", "alertlist"), ("starttime", "0"), ("endtime", str(NOW)),
                 *([("formatoptions", "enumerate")] if words else [])]  # fmt: skip
        (tmp_path / "alerts.json").write_text(json.dumps(running.answer(_asked("archivejson.cgi", asked)).body))
        assert [(e.key, e.outcome) for e in events(parsed(tmp_path / "alerts.json"))] == [
            (f"web;;{NOW - 100}", "open"), (f"web;C;{NOW - 100}", "open"),
        ]  # fmt: skip
    for kept in (found, dat):
        assert {(h, s, NOW - 100): (v.good, v.total) for (h, s, _), v in kept.ratios().items()} == wanted


def _asked(cgi: str, query: list[tuple[str, str]]) -> Any:
    from tests.replay import Asked

    return Asked("GET", f"/{cgi}", tuple(query))


# -- captured files


def test_captured_log_and_performance_data_together() -> None:
    """Every line is read; states come from the log, so that the initial OK of a dead service counts nothing."""
    folder = item(HERE, Given())
    pages = list(nagios.parse(folder, configured()))
    kept = Keeper(configured())
    kept.take(pages, NOW)
    by_check: dict[str, Ratio] = defaultdict(Ratio)
    for (_, service, _), ratio in kept.ratios().items():
        by_check[service] += ratio
    lines = (HERE / "service-perfdata.tsv").read_text().splitlines()
    count = {name: sum(f"\t{name}\t" in line for line in lines) for name in by_check}
    assert by_check["HTTP dead port"] == Ratio(0, count["HTTP dead port"])
    assert by_check["Root disk"] == Ratio(count["Root disk"], count["Root disk"])
    assert by_check["HTTP metrics"] == Ratio(count["HTTP metrics"], count["HTTP metrics"])
    assert by_check["Warn dummy"] == Ratio(count["Warn dummy"], count["Warn dummy"])
    assert "Unknown dummy" not in by_check
    assert {(one[0], one[1]) for one in kept.told("incident")} == {
        ("HTTP dead port", 1795247776), ("Load", 1795247783), ("", 1795247788),
    }  # fmt: skip
    times_ = {host: total(value) for (host, service, _), value in kept.latencies().items() if service == "HTTP metrics"}
    assert times_["checkout-01"] > 0
    assert (
        sum(total(v) for (_, s, _), v in kept.latencies().items() if s == "HTTP metrics")
        == by_check["HTTP metrics"].good
    )
    assert not [one for one in reasons(pages) if "lack" in one or "no line" in one]


def test_captured_status_is_one_look() -> None:
    """Nothing counts before its first check, and the CGIs in numbers and in words agree with status.dat."""
    found = {}
    for name in ("status.dat", "statusjson_servicelist_details.json", "statusjson_servicelist_enumerate.json"):
        assert nagios.recognise(item(HERE / name, Given()))
        kept = Keeper(configured())
        kept.take(parsed(HERE / name), NOW)
        found[name] = {s: (r.good, r.total) for (_, s, _), r in kept.ratios().items() if s}
    assert found["status.dat"] == found["statusjson_servicelist_details.json"]
    assert found["status.dat"] == found["statusjson_servicelist_enumerate.json"]
    assert found["status.dat"] == {
        "HTTP dead port": (0, 1), "HTTP metrics": (1, 1), "Load": (0, 1), "Root disk": (1, 1), "Warn dummy": (1, 1),
    }  # fmt: skip


def test_captured_downtimes_have_begun_or_are_left_out() -> None:
    (event,) = events(parsed(HERE / "statusjson_downtimelist.json"))
    assert (event.kind, event.ts, event.actor, event.title, event.outcome) == (
        "maintenance", 1795273857, "ada", "new disks", "open",
    )  # fmt: skip
    assert event.ended == 1795273897, "nobody comes back to a file, so it ends as it was planned"


def test_captured_alerts_give_the_incidents_of_the_log() -> None:
    listed = events(parsed(HERE / "archivejson_alertlist.json"))
    logged = events(parsed(HERE / "nagios.log"))
    assert [(e.key, e.ts, e.outcome, e.title) for e in listed] == [(e.key, e.ts, e.outcome, e.title) for e in logged]
    assert len(listed) == 3


def test_the_availability_of_the_cgi_is_not_believed() -> None:
    """It counts 3,367 of 3,600 s as OK for a service that never worked."""
    pages = parsed(HERE / "archivejson_availability.json")
    assert [one for page in pages for one in page.records] == []
    assert reasons(pages) == {"an answer of a CGI that holds neither checks, downtimes nor alerts is not counted": 1}


def test_every_payload_is_recognised_by_nobody_else() -> None:
    for file in sorted(HERE.iterdir()):
        if file.name != "PROVENANCE.md":
            told = item(file, Given())
            assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["nagios"], file.name
    assert nagios.recognise(item(HERE, Given()))


# -- files of other forms


def test_performance_data_of_pnp_say_the_state_themselves(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    (tmp_path / "perfdata.1").write_text("\n".join(running.perfdata_lines(NOW, pnp=True)) + "\n")
    kept = Keeper(configured())
    kept.take(parsed(tmp_path / "perfdata.1"), NOW)
    assert kept.ratios() == truth(running)


def test_without_the_log_the_state_of_a_check_is_not_known(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    (tmp_path / "service-perfdata").write_text("\n".join(running.perfdata_lines(NOW)) + "\n")
    pages = parsed(tmp_path / "service-perfdata")
    lines = sum(len(looks) for looks in running.looks.values())
    assert reasons(pages) == {"the state of a check is not in the log, so it is not counted": lines}
    assert not [one for page in pages for one in page.records]


def test_a_file_again_and_grown_is_told_again_not_added(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    kept = Keeper(configured())
    for until in (NOW - 900, NOW - 900, NOW):
        running.write(tmp_path, until)
        (tmp_path / "status.dat").unlink()
        kept.take(parsed(tmp_path), until)
    assert kept.ratios() == truth(running)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("time=0.003867s;0.5;1;0;10 size=5194B;;;0;", [("time", 0.003867, "s"), ("size", 5194, "B")]),
        ("/=47442821120B;243497277849;257024904396;0;270552530944", [("/", 47442821120, "B")]),
        ("rta=0.512000ms;100;500;0 pl=0%;20;60;0", [("rta", 0.512, "ms"), ("pl", 0, "%")]),
        ("'a label'=3;~:10;@5:9 'it''s'=4c", [("a label", 3, ""), ("it's", 4, "c")]),
        ("time=0,25s;;; U=U;;; x=U", [("time", 0.25, "s")]),
        ("load1=13.280;4.000;8.000;0; load5=1e-3;4;8;0;", [("load1", 13.28, ""), ("load5", 0.001, "")]),
        ("time=", []),
        ("", []),
        ("no performance data here", []),
        ("t=-.5s", [("t", -0.5, "s")]),
    ],
)
def test_the_grammar_of_performance_data(text: str, found: list[tuple[str, float, str]]) -> None:
    assert list(measured(text)) == [Measured(*one) for one in found]


@pytest.mark.parametrize(
    ("text", "seconds", "wrong"),
    [
        ("time=0.5s", 0.5, ""),
        ("rta=12ms", 0.012, ""),
        ("time=30us;;;", 0.00003, ""),
        ("size=5B", None, ""),
        ("time=5", None, '"time" is no duration: its unit is ""'),
        ("time=5B", None, '"time" is no duration: its unit is "B"'),
        ("time=-1s", None, '"time" is a negative duration'),
        ("rta=1ms time=2s", 2.0, ""),
    ],
)
def test_only_durations_with_a_unit_are_latency(text: str, seconds: float | None, wrong: str) -> None:
    got, said = duration(text, ("time", "rta"))
    assert (got is None) == (seconds is None)
    assert got is None or abs(got - (seconds or 0)) < 1e-12
    assert said == wrong


# -- time zones


def test_times_made_readable_are_read_in_the_zone(running: Nagios, tmp_path: Path) -> None:
    busy(running)
    lines = running.log_lines(NOW)
    (tmp_path / "epoch.log").write_text("\n".join(lines) + "\n")
    (tmp_path / "human.log").write_text("\n".join(human(line, "America/New_York") for line in lines) + "\n")
    assert nagios.recognise(item(tmp_path / "human.log", Given()))
    wanted = events(parsed(tmp_path / "epoch.log"))
    assert events(parsed(tmp_path / "human.log", timezone="America/New_York")) == wanted
    zoned = configured(common={"timezone": "America/New_York"})
    assert events(parsed(tmp_path / "human.log", zoned)) == wanted
    without = parsed(tmp_path / "human.log")
    assert events(without) == []
    assert reasons(without) == {"a line has a time without offset; set timezone for this source": len(lines)}


def test_an_hour_that_repeats_is_the_earlier_one_unless_the_order_says_otherwise() -> None:
    """Berlin, 2026-10-25: 02:30 comes twice; the second reading of it is known by the line before."""
    zone = Zone("Europe/Berlin")
    texts = ["Sun Oct 25 01:59:00 2026", "Sun Oct 25 02:30:00 2026", "Sun Oct 25 02:59:59 2026",
             "Sun Oct 25 02:10:00 2026", "Sun Oct 25 02:50:00 2026", "Sun Oct 25 03:00:00 2026"]  # fmt: skip
    utc = ["2026-10-24T23:59:00Z", "2026-10-25T00:30:00Z", "2026-10-25T00:59:59Z", "2026-10-25T01:10:00Z",
           "2026-10-25T01:50:00Z", "2026-10-25T02:00:00Z"]  # fmt: skip
    assert [times.text(zone.read(one)) for one in texts] == utc
    assert zone.repeated == 4


def test_an_hour_that_never_was_is_rejected_and_the_rest_lands(tmp_path: Path) -> None:
    lines = ["[Sun Mar 29 01:59:00 2026] SERVICE ALERT: a;b;CRITICAL;HARD;1;x",
             "[Sun Mar 29 02:30:00 2026] SERVICE ALERT: a;c;CRITICAL;HARD;1;x",
             "[2026-10-25 02:30:00] SERVICE ALERT: a;d;CRITICAL;HARD;1;x",
             "[2026-10-25 02:40:00+01:00] SERVICE ALERT: a;e;CRITICAL;HARD;1;x",
             "[Sun Foo 29 02:30:00 2026] SERVICE ALERT: a;f;CRITICAL;HARD;1;x", "what is this",
             "[1795000000] SERVICE ALERT: a", "[1795000000] SERVICE ALERT: a;g;OK"]  # fmt: skip
    (tmp_path / "nagios.log").write_text("\n".join(lines) + "\n")
    pages = parsed(tmp_path / "nagios.log", timezone="Europe/Berlin")
    assert [dict(e.labels)["service"] for e in events(pages)] == ["b", "d", "e"]
    assert [times.text(e.ts) for e in events(pages)] == [
        "2026-03-29T00:59:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:40:00Z",
    ]  # fmt: skip
    said = reasons(pages)
    assert sum(count for reason, count in said.items() if "the clocks were put forward over it" in reason) == 1
    assert said["a time lies in an hour that repeats; the earlier one is taken unless the order says otherwise"] == 1
    assert said["a line is no line of a Nagios log"] == 1
    assert said["a line does not begin with a time"] == 1
    assert said["a line of the log lacks its host or service"] == 1
    assert said["a line of the log lacks its state"] == 1


# -- what it says of itself


@pytest.mark.parametrize("text", ["[]", "{}", "", "[1] hello", '{"result": {"cgi": "other.cgi"}}', "host { }"])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.txt").write_text(text)
    assert not nagios.recognise(item(tmp_path / "some.txt", Given()))


def test_where_nothing_is_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match='set url or path for the source "nagios"'):
        Keeper(configured()).pull(NOW)
    with pytest.raises(SourceRefused, match="is not there; check the path"):
        Keeper(configured(path=tmp_path / "none")).pull(NOW)
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(SourceRefused, match="holds nothing that Nagios writes"):
        Keeper(configured(path=tmp_path)).pull(NOW)
    with pytest.raises(SourceRefused, match='give url or path for the source "nagios", not both'):
        Keeper(configured("http://x", tmp_path)).pull(NOW)


def test_its_status_table_its_aliases_and_its_example(tmp_path: Path) -> None:
    assert nagios.ABOUT.status is STATUS
    assert {connect.canonical(name) for name in ("nagios", *nagios.ABOUT.aliases)} == {"nagios"}
    text = '[[component]]\nname = "checkout-api"\nkind = "service"\n' + template.uncommented(template.block("naemon"))
    (source,) = parse(text, tmp_path / "tandem.toml").sources
    assert nagios.scope(source.config) == "http://127.0.0.1/cgi-bin/nagios4"
    assert isinstance(source.common.map[0].match, Mapping)
