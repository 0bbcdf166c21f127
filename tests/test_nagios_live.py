"""The nagios connector against Debian's Nagios 4: its core in a folder, its JSON CGIs behind a small server."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors import _files, nagios
from tandem.bins import total
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Page, Ratio
from tests.replay import Answer, Asked, serve
from tests.test_prometheus_live import until_true

CGIS = Path("/usr/lib/cgi-bin/nagios4")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not shutil.which("nagios4") or not (CGIS / "statusjson.cgi").exists(), reason="nagios4 is not installed"
    ),
]

OBJECTS = """\
define timeperiod {{
 timeperiod_name always
 alias always
{days}
}}
define command {{
 command_name look
 command_line /bin/sh {folder}/look.sh $ARG1$
}}
define command {{
 command_name nothing
 command_line /bin/true
}}
define contact {{
 contact_name ops
 host_notification_period always
 service_notification_period always
 host_notification_options n
 service_notification_options n
 host_notification_commands nothing
 service_notification_commands nothing
}}
define host {{
 host_name checkout-01
 address 127.0.0.1
 check_command look!host
{common}
}}
define service {{
 host_name checkout-01
 service_description HTTP
 check_command look!http
{common}
}}
"""
COMMON = """\
 max_check_attempts 2
 check_interval 1
 retry_interval 1
 check_period always
 contacts ops
 notification_period always"""
LOOK = """\
code=$(cat {folder}/$1.state)
echo "$1 is $code|time=0.0125s;0.5;1;0;10 size=512B;;;0"
exit $code
"""
MAIN = """\
log_file={folder}/nagios.log
cfg_file={folder}/objects.cfg
object_cache_file={folder}/objects.cache
precached_object_file={folder}/objects.precache
status_file={folder}/status.dat
status_update_interval=1
nagios_user={user}
nagios_group={group}
check_external_commands=1
command_file={folder}/nagios.cmd
query_socket={folder}/nagios.qh
lock_file={folder}/nagios.lock
temp_file={folder}/nagios.tmp
temp_path={folder}
check_result_path={folder}/results
log_archive_path={folder}/archives
log_rotation_method=n
use_syslog=0
log_initial_states=1
log_service_retries=1
log_host_retries=1
interval_length=1
state_retention_file={folder}/retention.dat
process_performance_data=1
service_perfdata_file={folder}/service-perfdata
service_perfdata_file_mode=a
service_perfdata_file_template=[SERVICEPERFDATA]\\t$TIMET$\\t$HOSTNAME$\\t$SERVICEDESC$\\t$SERVICEEXECUTIONTIME$\\t$SERVICELATENCY$\\t$SERVICEOUTPUT$\\t$SERVICEPERFDATA$
enable_flap_detection=0
check_for_updates=0
event_broker_options=0
date_format=iso8601
"""
CGI = """\
main_config_file={folder}/nagios.cfg
physical_html_path={folder}
url_html_path=/nagios4
use_authentication=0
"""


@dataclass
class Core:
    """A running Nagios in a folder."""

    folder: Path

    def state(self, name: str, code: int) -> None:
        made = self.folder / f"{name}.new"
        made.write_text(str(code))
        made.replace(self.folder / f"{name}.state")

    def command(self, text: str) -> None:
        with (self.folder / "nagios.cmd").open("w") as pipe:
            pipe.write(f"[{int(time.time())}] {text}\n")

    def log(self) -> str:
        return (self.folder / "nagios.log").read_text()

    def answer(self, asked: Asked) -> Answer:
        """What a web server does with a CGI."""
        name = asked.path.rpartition("/")[2]
        if name not in ("statusjson.cgi", "archivejson.cgi"):
            return Answer("not found", 404)
        told = {"NAGIOS_CGI_CONFIG": str(self.folder / "cgi.cfg"), "REQUEST_METHOD": "GET",
                "QUERY_STRING": urlencode(asked.query)}  # fmt: skip
        done = subprocess.run([str(CGIS / name)], env={**os.environ, **told}, capture_output=True, check=False)
        head, _, body = done.stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
        kind = next((line[14:] for line in head.decode().split("\n") if line.lower().startswith("content-type:")), "")
        return Answer(body, 200, {"Content-Type": kind.strip() or "text/plain"})


@contextmanager
def core(folder: Path) -> Iterator[Core]:
    days = "\n".join(f" {day} 00:00-24:00" for day in
                     ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"))  # fmt: skip
    told = {"folder": folder, "days": days, "common": COMMON, "user": getpass.getuser(),
            "group": grp.getgrgid(os.getgid()).gr_name}  # fmt: skip
    for name, text in (("objects.cfg", OBJECTS), ("look.sh", LOOK), ("nagios.cfg", MAIN), ("cgi.cfg", CGI)):
        (folder / name).write_text(text.format(**told))
    for name in ("results", "archives"):
        (folder / name).mkdir()
    running = Core(folder)
    running.state("http", 0)
    running.state("host", 0)
    with (folder / "out.txt").open("wb") as out:
        process = subprocess.Popen(["nagios4", str(folder / "nagios.cfg")], stdout=out, stderr=out)
    try:
        until_true(lambda: process.poll() is not None or (folder / "status.dat").exists())
        assert process.poll() is None, (folder / "out.txt").read_text()
        yield running
    finally:
        process.terminate()
        process.wait(20)


def events(pages: list[Page], kind: str) -> list[Event]:
    return [one for page in pages for one in page.records if isinstance(one, Event) and one.kind == kind]


def ratio(pages: list[Page]) -> Ratio:
    found = Ratio()
    for page in pages:
        for one in page.records:
            if not isinstance(one, Event) and isinstance(one.value, Ratio) and ("service", "HTTP") in one.series.labels:
                found += one.value
    return found


def test_a_service_fails_in_a_downtime_and_recovers(tmp_path: Path) -> None:
    """The CGIs while it happens, and the files afterwards, tell the same incident, downtime and checks."""
    common = Common("nagios", "live", component=("shop",))
    with core(tmp_path) as running, serve(running.answer) as site:
        config = nagios.Config(common, url=f"{site.url}/cgi-bin/nagios4")
        state: Any = None

        def pulled(*still: Event) -> list[Page]:
            now = int(time.time()) + 1
            pages = list(nagios.fetch(config, Pull(now - 900, now, now, state=state, open=still, first=state is None)))
            assert not [one for page in pages for one in page.findings if one.kind == "reject"]
            return pages

        until_true(lambda: '"has_been_checked": true' in str(site_text(site.url)))
        until_true(lambda: ratio(pulled()).total > 0)
        first = pulled()
        assert ratio(first) == Ratio(1, 1)
        state = [page.state for page in first if page.state is not None][-1]

        begin = int(time.time())
        running.command(f"SCHEDULE_SVC_DOWNTIME;checkout-01;HTTP;{begin};{begin + 3600};1;0;3600;ada;new disks")
        until_true(lambda: "HTTP;STARTED" in running.log())
        running.state("http", 2)
        until_true(lambda: "HTTP;CRITICAL;HARD" in running.log())
        until_true(lambda: bool(events(pulled(), "incident")) and bool(events(pulled(), "maintenance")))
        pages = pulled()
        (incident,), (downtime,) = events(pages, "incident"), events(pages, "maintenance")
        assert (incident.outcome, dict(incident.labels)["service"]) == ("open", "HTTP")
        assert incident.title == "checkout-01: HTTP is CRITICAL: http is 2"
        assert f"[{incident.ts}] SERVICE ALERT: checkout-01;HTTP;CRITICAL;HARD" in running.log()
        assert (downtime.outcome, downtime.title, downtime.actor) == ("open", "new disks", "ada")

        running.command(f"DEL_SVC_DOWNTIME;{downtime.key.partition('@')[0]}")
        running.state("http", 0)
        until_true(lambda: "HTTP;OK;HARD" in running.log() and "HTTP;CANCELLED" in running.log())
        until_true(lambda: all(one.outcome != "open" for one in events(pulled(incident, downtime), "maintenance")))
        until_true(lambda: all(one.outcome != "open" for one in events(pulled(incident, downtime), "incident")))
        over = events(pulled(incident, downtime), "incident")
        assert [(one.key, one.outcome) for one in over] == [(incident.key, "bad")]
        until_true(lambda: "current_state=0" in (tmp_path / "status.dat").read_text().partition("servicestatus")[2])
        shutil.copy(tmp_path / "status.dat", tmp_path / "look.dat")  # Nagios takes it away when it ends

    files = nagios.Config(common, path=tmp_path)
    until = int(time.time()) + 60
    read = list(nagios.fetch(files, Pull(0, until, until, first=True)))
    (same,) = events(read, "incident")
    assert (same.key, same.ts, same.ended, same.outcome) == (over[0].key, over[0].ts, over[0].ended, "bad")
    (down,) = events(read, "maintenance")
    assert (down.outcome, down.title, down.actor) == ("good", "new disks", "ada")
    lines = [line.split("\t") for line in (tmp_path / "service-perfdata").read_text().splitlines()]
    assert ratio(read) == Ratio(sum(line[6] == "http is 0" for line in lines), len(lines))
    assert 0 < ratio(read).good < ratio(read).total
    latencies = [one.value for page in read for one in page.records
                 if not isinstance(one, Event) and one.series.signal == "latency"]  # fmt: skip
    assert sum(map(total, latencies)) == ratio(read).good  # type: ignore[arg-type]
    assert not [one for page in read for one in page.findings]
    look = _files.item(tmp_path / "look.dat", Given())
    assert nagios.recognise(look)
    assert ratio(list(nagios.parse(look, files))) == Ratio(1, 1)


def site_text(url: str) -> Any:
    from connectors import _http

    with _http.open_client(nagios.Config(Common("nagios", "live")), url) as client:
        return client.get("statusjson.cgi", {"query": "servicelist", "details": "true"}, json=False).text
