"""The ansible connector against the real program: three callbacks over plays that fail, are ignored and rescued."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from connectors import ansible
from connectors._files import item
from tandem.connect import Common, Given
from tandem.records import Event
from tests.environments import environment

pytestmark = pytest.mark.live

PLAYBOOK = """\
- name: prepare
  hosts: all
  gather_facts: false
  tasks:
  - {name: change, ansible.builtin.command: "true"}
  - {name: optional, ansible.builtin.command: "false", ignore_errors: true, when: inventory_hostname == 'one'}
  - name: guarded
    block:
    - {name: breaks, ansible.builtin.command: "false", when: inventory_hostname == 'two'}
    rescue:
    - {name: mends, ansible.builtin.debug: {msg: "canary-{{ secret }}"}}
- name: nobody
  hosts: nobody
  tasks: [{ansible.builtin.command: "true"}]
- name: deploy
  hosts: all
  gather_facts: false
  tasks:
  - {name: deploy, ansible.builtin.command: "{{ 'false' if inventory_hostname == 'three' else 'true' }}"}
  - {name: after, ansible.builtin.command: "true"}
"""
INVENTORY = """\
one ansible_connection=local
two ansible_connection=local
three ansible_connection=local
gone ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh
"""
_RECAP = re.compile(r"^(\w+)\s+: (ok=.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run each with the default, the json and the jsonl callback; every one of them writes junit too."""
    path = tmp_path_factory.mktemp("ansible")
    python = environment("ansible", ["ansible==12.*"])
    (path / "site.yml").write_text(PLAYBOOK)
    (path / "inventory").write_text(INVENTORY)
    for name, callback in (
        ("recap.txt", "default"),
        ("run.json", "ansible.posix.json"),
        ("run.jsonl", "ansible.posix.jsonl"),
    ):
        env = {
            "PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(path), "LC_ALL": "C.UTF-8",
            "ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
            "JUNIT_OUTPUT_DIR": str(path / f"junit-{name}"), "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": str(python),
        }  # fmt: skip
        with (path / name).open("w") as out:
            done = subprocess.run(
                [str(python.parent / "ansible-playbook"), "-i", "inventory", "-e", "secret=hush", "site.yml"],
                cwd=path, env=env, stdout=out, stderr=subprocess.PIPE, text=True, timeout=240, check=False,
            )  # fmt: skip
        assert done.returncode in (2, 4), done.stderr[-2000:]
    return path


def plays(path: Path) -> list[Event]:
    told = item(path, Given())
    assert ansible.recognise(told)
    pages = list(ansible.parse(told, ansible.Config(Common("ansible", "x"))))
    return [record for page in pages for record in page.records if isinstance(record, Event)]


def recap(folder: Path) -> dict[str, int]:
    """What Ansible prints at the end, over all hosts; of failed and unreachable ones how many hosts."""
    rows = _RECAP.findall((folder / "recap.txt").read_text())
    told = [{name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", row)} for _, row in rows]
    found = {name: sum(one[name] for one in told) for name in ("changed", "ignored", "rescued")}
    return {**found, **{name: sum(one[name] > 0 for one in told) for name in ("failed", "unreachable")}}


@pytest.mark.parametrize("name", ["run.json", "run.jsonl"])
def test_the_sum_of_the_plays_is_ansibles_own_recap(folder: Path, name: str) -> None:
    found = plays(folder / name)
    assert [(dict(one.labels)["play"], one.outcome) for one in found] == [
        ("prepare", "bad"), ("nobody", "excluded"), ("deploy", "bad"),
    ]  # fmt: skip
    told = [dict(one.labels) for one in found]
    want = recap(folder)
    assert {key: sum(int(one[key]) for one in told) for key in want} == want
    assert want == {"changed": 8, "ignored": 1, "rescued": 1, "failed": 1, "unreachable": 1}
    assert [(one["hosts"], one["failed"], one["unreachable"], one["ignored"], one["rescued"]) for one in told] == [
        ("4", "0", "1", "1", "1"), ("0", "0", "0", "0", "0"), ("3", "1", "0", "0", "0"),
    ]  # fmt: skip
    assert all(one.ended is not None and one.started is not None and one.ended >= one.started for one in found)
    assert len({one.key for one in found}) == 3
    assert "canary-hush" in (folder / name).read_text()
    assert "canary" not in repr(found)


def test_the_junit_callback_of_the_same_plays(folder: Path) -> None:
    [report] = (folder / "junit-run.json").iterdir()
    found = {dict(one.labels)["play"]: one for one in plays(report)}
    assert found.keys() == {"prepare", "deploy"}
    assert (found["deploy"].outcome, dict(found["deploy"].labels)["hosts"]) == ("bad", "3")
    for one in found.values():
        assert one.ts_latest is not None
        assert one.ts <= one.ts_latest
        assert abs(one.ts_latest - report.stat().st_mtime) <= 2


def test_a_syntax_error_leaves_nothing_that_is_taken_for_a_run(folder: Path, tmp_path: Path) -> None:
    python = environment("ansible", ["ansible==12.*"])
    (tmp_path / "broken.yml").write_text("- hosts: all\n  taskz: [}\n")
    env = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8",
           "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}  # fmt: skip
    with (tmp_path / "run.json").open("w") as out:
        command = [str(python.parent / "ansible-playbook"), "broken.yml"]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=out, stderr=subprocess.PIPE, timeout=120, check=False
        )
    assert done.returncode != 0
    assert not ansible.recognise(item(tmp_path / "run.json", Given()))
