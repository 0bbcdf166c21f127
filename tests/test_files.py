"""Exported files: encodings, compressions, archives, folders, JSON and XML, and what is refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from connectors import _files
from tandem.connect import Given, Item, SourceRefused

GIVEN = Given(component="shop")


def item(path: Path, data: bytes) -> Item:
    path.write_bytes(data)
    return _files.item(path, GIVEN)


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(SourceRefused) as raised:
        read()
    said = str(raised.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, lambda data: zstandard.ZstdCompressor().compress(data)]
)
def test_compressions_are_read_by_their_first_bytes(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    text = "".join(f"line {n} ü\n" for n in range(20_000))
    found = item(tmp_path / "no-suffix", pack(text.encode()))
    assert found.head == text.encode()[:65_536]
    assert list(_files.lines(found)) == text.splitlines()
    assert (found.name, found.entries, found.given) == ("no-suffix", (), GIVEN)


def test_frames_behind_one_another_are_one_file(tmp_path: Path) -> None:
    assert list(_files.lines(item(tmp_path / "a", gzip.compress(b"1\n") + gzip.compress(b"2\n")))) == ["1", "2"]
    one = zstandard.ZstdCompressor()
    assert list(_files.lines(item(tmp_path / "b", one.compress(b"1\n") + one.compress(b"2\n")))) == ["1", "2"]


def test_a_gzip_bomb_of_300_mb_stops_at_the_cap(tmp_path: Path) -> None:
    found = item(tmp_path / "bomb.gz", gzip.compress(bytes(300_000_000), 1))
    with found.open() as opened:
        said = refused(lambda: list(iter(lambda: len(opened.read(1 << 20)), 0)))
    assert said.startswith("bomb.gz holds more than 200 MB, over ")
    assert "times its" in said


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_off_file_says_so(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(os.urandom(100_000))
    found = item(tmp_path / "cut", data[: len(data) // 2])
    assert refused(lambda: found.open().read()) == "cut is broken or cut off and cannot be unpacked; export it again."


def test_text_is_utf_8_or_refused(tmp_path: Path) -> None:
    assert list(_files.lines(item(tmp_path / "bom", b"\xef\xbb\xbfa\r\nb"))) == ["a", "b"]
    assert _files.text(item(tmp_path / "bom2", b"\xef\xbb\xbfa\r\nb")) == "a\r\nb"
    latin = item(tmp_path / "latin", b"ok\nGr\xfc\xdfe\n")
    assert refused(lambda: list(_files.lines(latin))) == (
        "latin line 2 is not UTF-8 (perhaps Latin-1); save the file as UTF-8."
    )
    assert "latin line 2 is not UTF-8" in refused(lambda: _files.text(latin))
    wide = item(tmp_path / "wide", "a\n".encode("utf-16"))
    assert refused(lambda: list(_files.lines(wide))) == "wide is UTF-16; save it as UTF-8."


def test_a_line_without_end_is_told_apart(tmp_path: Path) -> None:
    assert list(_files.lines(item(tmp_path / "x", b"a\r\nb"), ends=True)) == ["a\n", "b"]


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    found = item(tmp_path / "x", b"x" * (_files.LINE_CAP + 10))
    assert "line of more than 16 MB" in refused(lambda: list(_files.lines(found)))


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}\n{"a": 2}\n\n[3]',
        b'{\n "a": 1\n}\n{\n "a": 2\n}\n[\n3]',
        b'{"a": 1}{"a": 2}[3]',
        b'{"a": 1} \n{"a":\n 2}[3]\n',
    ],
)
def test_documents_in_every_arrangement(tmp_path: Path, data: bytes) -> None:
    assert list(_files.documents(item(tmp_path / "x.json", data))) == [{"a": 1}, {"a": 2}, [3]]


def test_documents_before_a_broken_place_come_first(tmp_path: Path) -> None:
    lines = [json.dumps({"n": n}) for n in range(5)]
    found = item(tmp_path / "x.jsonl", ("\n".join(lines) + '\n{"n": 5, "cut').encode())
    got: list[object] = []
    assert refused(lambda: got.extend(one for one in _files.documents(found))).startswith("x.jsonl line 6 is not JSON")
    stream = _files.documents(found)
    assert [next(stream) for _ in range(5)] == [{"n": n} for n in range(5)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": NaN}', "x.json cannot be used: it holds NaN, which is no number."),
        (b'{"a": 1, "a": 2}', 'x.json cannot be used: it holds the key "a" twice in one object.'),
        (b"[" * 200_000, "x.json cannot be used: it is nested too deeply."),
        (b'{"a": 1', "x.json line 1 is not JSON, perhaps cut off; export it again."),
        (b"", "x.json line 1 is not JSON, perhaps cut off; export it again."),
        (b'{"a": 1}{"b": 2}', "x.json line 1 is not JSON, perhaps cut off; export it again."),
    ],
)
def test_one_document_is_strict(tmp_path: Path, data: bytes, said: str) -> None:
    found = item(tmp_path / "x.json", data)
    assert refused(lambda: _files.load_json(found)) == said


def test_constants_are_read_where_a_system_writes_them(tmp_path: Path) -> None:
    found = item(tmp_path / "x.json", b'{"a": NaN}')
    assert _files.load_json(found, constants=lambda word: word) == {"a": "NaN"}


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><l>&c;</l>'
)


def test_xml_is_read_as_it_comes(tmp_path: Path) -> None:
    found = item(tmp_path / "x.xml", b"<a><b n='1'>t</b></a>")
    assert [(event, e.tag, dict(e.attrib)) for event, e in _files.xml(found)] == [
        ("start", "a", {}), ("start", "b", {"n": "1"}), ("end", "b", {"n": "1"}), ("end", "a", {}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LAUGHS.encode(), "declares a DTD or entities"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares a DTD or entities"),
        (b"<a>" * 101, "nests elements more than 100 deep"),
        (b"<a>\n<b>", "line 2 is not well-formed XML, perhaps cut off"),
        (b"<a>" + b" " * (_files.XML_CAP + 1) + b"</a>", "holds more than 20 MB"),
    ],
)
def test_hostile_xml_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    found = item(tmp_path / "x.xml", data)
    assert said in refused(lambda: list(_files.xml(found)))


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def test_a_zip_is_a_folder_that_is_never_extracted(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.zip", {"a/x.json": b"[1]", "../../evil.txt": b"boo"})
    found = _files.item(path, GIVEN)
    assert found.entries == ("../../evil.txt", "a/x.json")
    assert _files.load_json(found.child("a/x.json")) == [1]
    assert found.child("../../evil.txt").open().read() == b"boo"
    assert not (tmp_path.parent.parent / "evil.txt").exists()
    assert "holds no b" in refused(lambda: found.child("b"))


def test_zips_that_are_refused(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as made:
        made.writestr("x", "y")
    nested = _files.item(archive(tmp_path / "n.zip", {"in.zip": inner.getvalue()}), GIVEN)
    assert "an archive inside an archive" in refused(lambda: nested.child("in.zip").open())
    bomb = _files.item(archive(tmp_path / "b.zip", {"x": bytes(50_000_000)}), GIVEN)
    assert "holds more than" in refused(lambda: bomb.child("x").open().read())
    many = _files.item(archive(tmp_path / "m.zip", {str(n): b"" for n in range(1001)}), GIVEN)
    assert "more than 1,000 files" in refused(many.open)
    path = archive(tmp_path / "c.zip", {"x": os.urandom(5000)})
    cut = item(tmp_path / "cut.zip", path.read_bytes()[:3000])
    assert "broken or cut off" in refused(cut.open)


def test_a_folder_offers_itself_first(tmp_path: Path) -> None:
    for name in ("runs/1/meta", "runs/2/meta", "a.txt", "z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    everything = [found.path.name for found in _files.walk(tmp_path, GIVEN, lambda one: False)]
    assert everything == ["a.txt", "meta", "meta", "z.txt"]
    known = _files.walk(tmp_path, GIVEN, lambda one: bool(one.entries) and all("meta" in e for e in one.entries))
    assert [(found.name, tuple(found.entries)) for found in known] == [
        ("a.txt", ()), ("runs", ("1/meta", "2/meta")), ("z.txt", ()),
    ]  # fmt: skip
    assert [found.name for found in _files.walk(tmp_path / "a.txt", GIVEN, lambda one: False)] == ["a.txt"]
    assert [found.name for found in _files.items(tmp_path / "runs", GIVEN)] == ["runs", "meta", "meta"]
    assert "is not there" in refused(lambda: list(_files.walk(tmp_path / "none", GIVEN, lambda one: False)))


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("s")
    (folder / "plain").write_text("p")
    (folder / "inner").symlink_to(folder / "plain")
    (folder / "file").symlink_to(outside / "secret")
    (folder / "folder").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    assert _files.item(folder, GIVEN).entries == ("inner", "plain")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "ENTRIES", 3)
    for n in range(4):
        (tmp_path / str(n)).touch()
    assert "holds more than 3 files" in refused(lambda: _files.item(tmp_path, GIVEN))


def test_one_unreadable_file_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(os.urandom(9000))[:20])
    (tmp_path / "b.txt").write_text("fine")
    cut, fine = _files.walk(tmp_path, GIVEN, lambda one: False)
    assert (len(cut.head) < 100, fine.head) == (True, b"fine")
    assert "broken or cut off" in refused(lambda: cut.open().read())
