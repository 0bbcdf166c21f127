"""NannyML: estimated and realised performance and drift per chunk, from the results that it writes to files.

Only chunks of the analysis period are read. A run tells its chunks anew: the newest run of each counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from connectors._files import files_at, stamp
from connectors._nannyml import is_result, result_of
from connectors._nannyml_telling import Run, Teller
from connectors._said import Said
from tandem.child import Child
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import BUCKET, Covered, Page, Series, bucket_of, labels_of

_FOLDER = 2_000
_FAR = 1 << 40

ABOUT = About(
    reads="Results of NannyML 0.8 to 0.13 as Parquet or CSV: realised and estimated performance, univariate and "
    "multivariate drift.",
    signals=("outcome", "label_coverage"),
    events=("drift",),
    labels={
        "file": "the name of the file without its ending",
        "folder": "the name of the folder that the file lies in",
        "segment": "the segment that the result is of (on drift events)",
        "features": "what left its thresholds (on drift events)",
        "drift": "data drift, performance or estimated performance (on drift events)",
    },
    files=(
        "to_df() of a result as Parquet or CSV, with its levels of columns or to_df(multilevel=False)",
        "what the raw_files writer writes (Parquet, CSV)",
    ),
    limits=(
        "A chunk counts in the bucket of its first row, the whole of it; its samples stand there too.",
        "Only the analysis period is read: the reference is what the model was tested on.",
        "outcome needs the metric confusion_matrix, not normalised; all other metrics are samples.",
        "Estimates are samples of stage estimated; what NannyML calls realised is of stage production.",
        "Accuracy times the labelled rows counts exactly too: into a ratio of your own, see accuracy_signal.",
        "The newest run of a chunk counts, by the time of its file; where it cuts time into other chunks, the old go.",
        "Thresholds are NannyML's, fitted on the reference; alerts on unchanged features occur.",
        "Without a timestamp column chunks have no time and are left out.",
        "Times without offset, which NannyML writes, need timezone.",
        "Results of data quality and summary statistics do not say what was calculated; they are refused.",
    ),
    side="model",
    example="""\
connector = "nannyml"
name = "nannyml"
path = "exports/nannyml"                   # a folder, file or glob of results (Parquet, CSV)
component = "fraud-detector"
timezone = "UTC"                           # of the times in the results
# positive = "1"                           # the classes of a binary model, as they are in other sources
# negative = "0"
# segment = "country={folder}"             # where results lie in a folder for each segment
""",
)


@dataclass(frozen=True)
class Config:
    """Where the results lie, and what they are of."""

    common: Common
    path: Path | None = setting("A folder, file or glob of results.", default=None, example="exports/nannyml")
    positive: str = setting("The positive class of a binary model.", default="1", example="fraud")
    negative: str = setting("The other class of a binary model.", default="0", example="genuine")
    segment: str = setting(
        "The segment that the results are of; {folder} and {file} stand for names.", default="",
        example="country={folder}",
    )  # fmt: skip
    accuracy_signal: str = setting(
        "A signal of kind ratio that takes right ones out of labelled ones, where no confusion matrix tells them.",
        default="", example="right_answers",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.positive == self.negative:
            raise ValueError("positive and negative must be two classes.")


def scope(config: Config) -> str:
    """The path of the results."""
    return str(config.path or "")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What all results say together, where one of them is new or has changed since the last pull."""
    if config.path is None:
        raise SourceRefused(f'set path = "FOLDER, FILE or GLOB" for the source "{config.common.name}".')
    found = list(_found(config.path, config))
    mark = stamp(found)
    if not pull.first and pull.state == mark:
        yield Page(covered=())
        return
    said = Said(config)
    pull.progress(f"{len(found)} results", None)
    runs = list(_runs(found, config, said))
    yield from Teller(config, pull, said).pages(runs)
    # What begins at or after the end of the pull is left for the next one, which must read it again.
    later = any(chunk.start >= pull.until for run in runs for chunk in run.result.chunks)
    yield Page(state="" if later else mark, covered=_span(runs), findings=said.findings(config.common.name))


def recognise(item: Item) -> bool:
    """A result, by the names of its columns; a folder of nothing else, for runs of one chunk belong together."""
    if item.entries:
        names = _readable(item)
        return bool(names) and all(is_result(item.child(name)) for name in names)
    return is_result(item)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What one result says, or those of a folder together."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was counted before."""
    said = Said(config)
    inside = [item.child(name) for name in _readable(item)]
    if item.entries:
        runs = list(_runs(inside, config, said))
    else:
        with Child() as child:
            runs = [_run(item, config, child)]
    yield from Teller(config, pull, said).pages(runs)
    yield Page(covered=_span(runs), findings=said.findings(item.name))


def _readable(folder: Item) -> list[str]:
    """The entries of a folder without notes to people; none where there are very many."""
    if len(folder.entries) > _FOLDER:
        return []
    return [entry for entry in folder.entries if not entry.endswith((".md", ".pkl")) and "/." not in f"/{entry}"]


def _runs(found: Sequence[Item], config: Config, said: Said) -> Iterator[Run]:
    """The results of several files; one that cannot be used is counted and left out."""
    with Child() as child:
        for item in found:
            try:
                yield _run(item, config, child)
            except SourceRefused as no:
                said.reject(str(no).rstrip("."))


def _run(item: Item, config: Config, child: Child) -> Run:
    name = PurePath(item.path.name if "/" not in item.name else item.name)
    file = name.name.partition(".")[0]
    folder = item.path.parent.name if "/" not in item.name else PurePath(item.name).parent.name
    segment = config.segment.replace("{folder}", folder).replace("{file}", file)
    series = Series("sample", labels_of({"file": file, "folder": folder}), segment=segment)
    zone = item.given.timezone or config.common.timezone
    return Run(item.modified, series, result_of(item, zone, child))


def _span(runs: Sequence[Run]) -> list[Covered]:
    chunks = [chunk for run in runs for chunk in run.result.chunks]
    if not chunks:
        return []
    return [Covered(bucket_of(min(one.start for one in chunks)), bucket_of(max(one.end for one in chunks)) + BUCKET)]


def _found(path: Path, config: Config) -> Iterator[Item]:
    for item, alone in files_at(path, Given(timezone=config.common.timezone)):
        if alone or is_result(item):
            item.head = item.head[:16]  # there may be very many
            yield item
