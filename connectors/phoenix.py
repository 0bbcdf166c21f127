"""Phoenix (Arize): errors and latency of an application's requests from its spans, and how people judged its answers.

Spans are listed newest first by row id, whatever their times, so those that were exported late are found by reading
down to the last row that is known. A block of row ids is a slice: it is read whole, and told again where a span came
late or somebody judged one.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote

from connectors import _files, _http
from connectors._phoenix import (
    BLOCK,
    STATUS,
    Block,
    Judgement,
    Rules,
    Span,
    Words,
    block_of,
    judgement_of,
    row_of,
    span_of,
)
from tandem.connect import About, Common, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import DAY, Page, Slice

PER_PAGE = 1_000
ASKED = 200
"""Spans whose judgements are asked for at once: their ids stand in the address."""
SKEW = 300
"""Seconds by which a span may lie ahead and still is awaited."""
_ANSWERS = 10_000
_FAR = 1 << 40

ABOUT = About(
    reads="Phoenix: the spans of an application that answers with a language model, and the annotations of them.",
    signals=("request_success", "latency", "outcome", "label_coverage"),
    labels={"project": "the project", "model": "the language model of the span, where it names one"},
    files=(
        "saved pages of /v1/projects/NAME/spans and of its span_annotations, together in a folder named as the project",
    ),
    horizon=14 * DAY,
    limits=(
        "A request is a root span, in the bucket in which it ended; kinds counts spans of some kinds instead.",
        "outcome: each answer is given as correct, a judgement says whether it was; accuracy is the share that was.",
        "Of several judgements of one span a person's counts before a program's, then the newest.",
        "Judgements of the newest 1,000 to 2,000 rows are read at every pull, those of the horizon once a day.",
        "A score is no label: right_at says from which one on an answer was right; scores keeps others as samples.",
        "Deleted spans stay counted unless deletions is restate; their block's judgements are then read no more.",
    ),
    status=STATUS,
    aliases=("arize-phoenix",),
    side="both",
    example="""\
connector = "phoenix"
name = "traces"
url = "http://127.0.0.1:6006"            # or "file:exports/phoenix"
projects = ["support-*"]                 # left out, all
# token_env = "PHOENIX_API_KEY"          # where authentication is on
judged_by = "correctness"                # the annotation whose label says whether an answer was right
  [source.status]
  factual = "good"                       # labels beside correct and incorrect
  hallucinated = "bad"
  [[source.map]]
  component = "support-bot"
  match = { project = "support-*" }
""",
)


@dataclass(frozen=True)
class Config:
    """The projects of one server."""

    common: Common
    url: str = setting('The server, or "file:DIR".', example="http://127.0.0.1:6006")
    projects: tuple[str, ...] = setting("Globs of the projects; left out, all.", default=(), example=["support-*"])
    kinds: tuple[str, ...] = setting(
        "Kinds of spans that are requests; left out, root spans are.", default=(), example=["LLM"]
    )
    judged_by: str = setting(
        'The annotation that says whether an answer was right; "" reads none.',
        default="correctness",
        example="correctness",
    )
    right_at: float | None = setting(
        "The score from which on an answer without a label was right.", default=None, example=0.5
    )
    scores: tuple[str, ...] = setting(
        "Annotations whose scores are kept as samples.", default=(), example=["helpfulness"]
    )
    segments: tuple[str, ...] = setting(
        "Attributes of spans whose values are segments.", default=(), example=["llm.model_name"]
    )

    @property
    def rules(self) -> Rules:
        """What is counted."""
        return Rules(self.kinds, self.judged_by, self.right_at, self.scores, self.segments)

    def wants(self, project: str) -> bool:
        """Whether a project is read."""
        return not self.projects or any(fnmatchcase(project, glob) for glob in self.projects)


def scope(config: Config) -> str:
    """The server's address."""
    return config.url.rstrip("/")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The blocks of rows that are new, may have changed, or once a day all of the horizon."""
    with _http.open_client(config, config.url) as client:
        yield from _Reading(config, pull, client).pages()


@dataclass
class _Project:
    """What is remembered of a project: its first name, the newest row, and the first one that lay ahead."""

    name: str
    last: int = 0
    ahead: int = 0


@dataclass
class _Gathered:
    """Spans by block, while a list is read downwards."""

    blocks: dict[int, list[Span]] = field(default_factory=lambda: defaultdict(list))
    newest: int = 0
    ahead: int = 0


class _Reading:
    """One pull."""

    def __init__(self, config: Config, pull: Pull, client: _http.Client) -> None:
        self.config = config
        self.pull = pull
        self.client = client
        state = pull.state if isinstance(pull.state, dict) and pull.state.get("version") == 1 else {"projects": {}}
        self.known = {key: _Project(**one) for key, one in state["projects"].items()}

    def pages(self) -> Iterator[Page]:
        found = self._projects()
        for number, (key, name) in enumerate(found):
            self.pull.progress(f"reading {name}", number / len(found))
            yield from self._project(key, self.known.setdefault(key, _Project(name)), name)
        if not found:
            raise SourceRefused(f"{scope(self.config)} has no project that fits projects; check it and the token.")
        told = {key: vars(one) for key, one in self.known.items()}
        yield Page(state={"version": 1, "projects": told})

    def _projects(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        cursor = ""
        while True:
            asked = {"limit": "100", **({"cursor": cursor} if cursor else {})}
            data, following = _listed(self.client.get("/v1/projects", asked).data, "/v1/projects")
            found += [(str(one["id"]), str(one["name"])) for one in data if isinstance(one, dict) and "id" in one]
            if not following:
                return sorted({key: name for key, name in found if self.config.wants(name)}.items())
            if following == cursor or following in {key for key, _ in found}:
                raise SourceDown("the list of projects goes round in circles; it is asked again at the next pull.")
            cursor = following

    def _project(self, key: str, known: _Project, name: str) -> Iterator[Page]:
        floor = max(0, known.last // BLOCK - 1) * BLOCK
        if known.ahead:
            floor = min(floor, known.ahead // BLOCK * BLOCK)
        gathered, said = _Gathered(), Words(self.config)
        done = False
        for spans, lowest in self._spans(key, said):
            self._gather(spans, gathered, said)
            whole = sorted((block for block in gathered.blocks if block * BLOCK >= lowest), reverse=True)
            for block in whole:
                mine = gathered.blocks.pop(block)
                is_counted = self.pull.taken(f"{known.name}:{block}") is not None
                yield from self._block(key, known.name, block, mine, said)
                is_low = block * BLOCK <= floor if known.last else self.pull.first or is_counted
                done = done or (is_low and self._is_old(mine, known))
            if done or (lowest <= floor and not self._deep(known)):
                break
        known.last, known.ahead = max(known.last, gathered.newest), gathered.ahead
        yield Page(findings=said.findings(name))

    def _deep(self, known: _Project) -> bool:
        """Whether more is read than what is new: at first, and once a day."""
        return self.pull.sweep or not known.last

    def _is_old(self, spans: Sequence[Span], known: _Project) -> bool:
        """Whether all of a block lies before what is asked for."""
        if not self._deep(known):
            return True
        horizon = self.config.common.horizon or ABOUT.horizon or 0
        since = self.pull.since if not known.last else self.pull.until - horizon
        return bool(spans) and all(span.at < since for span in spans)

    def _gather(self, spans: Sequence[Span], gathered: _Gathered, said: Words) -> None:
        for span in spans:
            gathered.newest = max(gathered.newest, span.row)
            if not self.config.rules.counts(span):
                continue
            mine = gathered.blocks[span.row // BLOCK]
            if span.at < self.pull.until:
                mine.append(span)
            elif span.at < self.pull.until + SKEW:
                gathered.ahead = min(gathered.ahead or span.row, span.row)
            else:
                said.reject("a span lies in the future")

    def _spans(self, project: str, said: Words) -> Iterator[tuple[list[Span], int]]:
        """Pages of spans, newest first, each with the row down to which everything was read by then."""
        path = f"/v1/projects/{quote(project, safe='')}/spans"
        kinds = self.config.rules.kinds
        asked = [("limit", str(PER_PAGE)), *([("span_kind", kind) for kind in kinds] or [("parent_id", "null")])]
        expected: int | None = None
        while True:
            cursor = [] if expected is None else [("cursor", base64.b64encode(f"Span:{expected}".encode()).decode())]
            data, following = _listed(self.client.get(path, [*asked, *cursor]).data, path)
            rows = _rows(data)
            if rows != sorted(set(rows), reverse=True) or (expected is not None and rows[:1] != [expected]):
                raise SourceDown(
                    "the list of spans is not in the order of its rows; it is asked again at the next pull."
                )
            spans = list(_usable(data, self._span, said))
            if not following:
                yield spans, 0
                return
            if not rows or row_of(following) >= rows[-1]:
                raise SourceDown("the list of spans goes round in circles; it is asked again at the next pull.")
            expected = row_of(following)
            yield spans, expected + 1

    def _span(self, told: Any) -> Span:
        return span_of(told, self.config.rules.attributes)

    def _block(self, key: str, name: str, number: int, spans: Sequence[Span], said: Words) -> Iterator[Page]:
        judgements = self._judgements(key, [span.id for span in spans], said) if self.config.rules.names else []
        block = block_of(number, name, spans, judgements, self.config.rules, said)
        piece = Slice(f"{name}:{number}", f"api:{block.spans}:{block.digest}")
        before = self.pull.taken(piece.name)
        if before == piece.digest:
            return
        if before and _count_in(before) > block.spans and self.config.common.deletions != "restate":
            said.remark("spans that were counted are not there any more; they stay counted")
            return
        yield Page(block.records, slice=piece)

    def _judgements(self, project: str, spans: Sequence[str], said: Words) -> list[Judgement]:
        path = f"/v1/projects/{quote(project, safe='')}/span_annotations"
        named = [("include_annotation_names", name) for name in self.config.rules.names]
        found: list[Judgement] = []
        for begin in range(0, len(spans), ASKED):
            some = spans[begin : begin + ASKED]
            asked = [("limit", str(_ANSWERS)), *named, *(("span_ids", one) for one in some)]
            cursor: list[tuple[str, str]] = []
            while True:
                reply = self.client.get(path, [*asked, *cursor], accept=(200, 404))
                if reply.status == 404:
                    break  # none of these spans is there any more
                data, following = _listed(reply.data, path)
                mine = list(_usable(data, judgement_of, said))
                if any(one.span not in some for one in mine):
                    raise SourceDown(f"{path} answered another question; check what stands before the server.")
                found += mine
                if not following:
                    break
                if cursor == [("cursor", following)] or not data:
                    raise SourceDown(
                        "the list of annotations goes round in circles; it is asked again at the next pull."
                    )
                cursor = [("cursor", following)]
        return found


def _count_in(digest: str) -> int:
    """How many spans a block was made of."""
    number = digest.split(":")[1] if digest.count(":") > 1 else ""
    return int(number) if number.isdigit() else 0


def _listed(told: Any, where: str) -> tuple[list[Any], str]:
    """The rows of a page, and the cursor of the next one."""
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, list) or "next_cursor" not in told:
        raise SourceRefused(f"{where} is no list of Phoenix; check the url.")
    return data, str(told["next_cursor"] or "")


def _rows(data: Sequence[Any]) -> list[int]:
    try:
        return [row_of(one["id"]) for one in data]
    except (ValueError, KeyError, TypeError):
        raise SourceRefused("a row of the list has no id of Phoenix; check the url.") from None


def _usable(data: Sequence[Any], read: Any, said: Words) -> Iterator[Any]:
    for one in data:
        try:
            yield read(one)
        except ValueError as wrong:
            said.reject(str(wrong))


# -- saved pages


def recognise(item: Item) -> bool:
    """Saved pages of spans or annotations; a folder when all its files are such."""
    if item.entries:
        entries = _pages_in(item)
        return bool(entries) and all(not one.entries and _kind_of(one.head) for one in map(item.child, entries))
    return bool(_kind_of(item.head))


def _pages_in(folder: Item) -> list[str]:
    if any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith((".", "README")) and not entry.endswith(".md")]


def _kind_of(head: bytes) -> Literal["spans", "annotations", ""]:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith(b"{") or b'"data"' not in text:
        return ""
    if b'"span_kind"' in text and b'"status_code"' in text and b'"context"' in text:
        return "spans"
    return "annotations" if b'"annotator_kind"' in text and b'"span_id"' in text else ""


def configure(item: Item, common: Common) -> Config:
    """A configuration of saved pages by themselves."""
    return Config(common, f"file:{item.path.absolute().parent}")


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The spans and annotations of saved pages, a folder's together."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same; a block of which more was counted before is left as it is."""
    said = Words(config)
    spans: dict[int, list[Span]] = defaultdict(list)
    judgements: list[Judgement] = []
    for one in [item.child(entry) for entry in _pages_in(item)] if item.entries else [item]:
        kind, data = _kind_of(one.head), _saved(one)
        if kind == "annotations":
            judgements += _usable(data, judgement_of, said)
            continue
        for span in _usable(data, partial(span_of, attributes=config.rules.attributes), said):
            if config.rules.counts(span) and span.at < pull.until:
                spans[span.row // BLOCK].append(span)
    if not spans:
        raise SourceRefused(
            f"{item.name} holds no span; put annotations into one folder with the pages of their spans."
        )
    own = item.name if item.entries else PurePath(item.name).stem
    name = config.projects[0] if not item.entries and len(config.projects) == 1 else own
    for number, mine in sorted(spans.items()):
        block = block_of(number, name, mine, judgements, config.rules, said)
        first, last = block.rows
        piece = Slice(f"{name}:{number}", f"file:{block.spans}:{first}-{last}:{block.digest}")
        before = pull.taken(piece.name)
        if before and before != piece.digest and not _is_more(before, block):
            said.remark(_BEFORE)
            continue
        yield Page(block.records, covered=(), slice=piece)
    yield Page(covered=(), findings=said.findings(item.name))


def _is_more(before: str, block: Block) -> bool:
    """Whether a block holds all rows that were counted of it from files before."""
    told = before.split(":")
    if told[0] != "file" or len(told) != 4:
        return False
    first, _, last = told[2].partition("-")
    return block.rows[0] <= int(first) and block.rows[1] >= int(last) and block.spans >= int(told[1])


_BEFORE = "spans of these rows were counted before, and others beside them; put all saved pages into one folder"


def _saved(item: Item) -> list[Any]:
    told: Mapping[str, Any] = _files.load_json(item)
    body = told.get("body") if isinstance(told.get("body"), dict) else told
    return _listed(body, item.name)[0]
