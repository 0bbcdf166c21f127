"""Columns as profilers tell them: rows, what is missing, and how the values lie; the same for every profiler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from connectors._said import Said
from connectors._sketched import REFERENCE, Rebinning, Sketch, categories
from tandem.connect import Common, Pull
from tandem.records import HOUR, Fact, Histogram, Labels, Ratio, Record, Series, Stage, bucket_of


@dataclass(frozen=True)
class Column:
    """One column of a profile: `n` rows, those without a usable value, and how the others lie.

    `approximate`: the categories are the most frequent ones of a sketch, and not all.
    """

    name: str
    n: int
    missing: int
    numbers: Sketch | None = None
    categories: Mapping[str, int] | None = None
    other: int = 0
    approximate: bool = True
    unseen: int = 0
    """Values that its schema does not know."""

    @property
    def texts(self) -> Histogram | None:
        """The categories as a histogram; None where there are none."""
        if self.categories is None:
            return None
        return categories(self.categories, self.missing, self.other, approximate=self.approximate)


@dataclass(frozen=True)
class Table:
    """The columns of one profile, at one time."""

    ts: int
    labels: Labels
    columns: Sequence[Column]
    stage: Stage = "production"


@dataclass
class Profiling:
    """What the profiles of one pull come to; `features` are globs of columns, none for all of them."""

    pull: Pull
    said: Said
    common: Common
    features: Sequence[str] = ()
    prediction: str | None = None
    bins: Rebinning = field(init=False)

    def __post_init__(self) -> None:
        self.bins = Rebinning(self.pull, self.said, self.common)

    def references(self, tables: Iterable[Table]) -> list[Record]:
        """Bins and references of the features that have none, from the profiles of the first days; oldest first.

        What lies in no profile of production has bins only: a reference is what production was like.
        """
        grouped: dict[tuple[str, str], list[tuple[Series, Column]]] = {}
        times: list[tuple[int, Stage]] = []
        for table in tables:
            if times and table.ts >= times[0][0] + REFERENCE:
                break
            times.append((table.ts, table.stage))
            for series, column in self._columns(table):
                grouped.setdefault((series.signal, series.name), []).append((series, column))
        if not times:
            return []
        produced = [ts for ts, stage in times if stage == "production"] or [ts for ts, _ in times]
        span = (bucket_of(produced[0], HOUR), bucket_of(produced[-1], HOUR) + HOUR)
        found: list[Record] = []
        for several in grouped.values():
            pairs = [pair for pair in several if pair[0].stage == "production"] or several
            series = pairs[0][0]
            sketches = [column.numbers for _, column in pairs if column.numbers is not None]
            texts = [texts for _, column in pairs for texts in [column.texts] if texts is not None]
            numeric = len(sketches) >= len(texts)
            made = self.bins.learn(series, sketches, *span) if numeric else self.bins.learn_texts(series, texts, *span)
            found += [made] if made is not None and series.stage == "production" else []
        return found

    def facts(self, table: Table) -> Iterator[Fact]:
        """Distributions in the hour of a profile, and how many of its rows are valid."""
        rows, chosen = 0, list(self._columns(table))
        for series, column in chosen:
            rows = max(rows, column.n)
            histogram = self.bins.histogram(series, column.numbers, column.missing) if column.numbers else column.texts
            if histogram is not None:
                yield Fact(series, bucket_of(table.ts, HOUR), histogram)
        if rows:
            yield from self._valid(chosen, rows, bucket_of(table.ts))

    def _columns(self, table: Table) -> Iterator[tuple[Series, Column]]:
        for column in table.columns:
            if column.name == self.prediction:
                yield Series("prediction", table.labels, stage=table.stage), column
            elif not self.features or any(fnmatchcase(column.name, glob) for glob in self.features):
                yield Series("feature", table.labels, name=column.name, stage=table.stage), column

    def _valid(self, found: Sequence[tuple[Series, Column]], rows: int, ts: int) -> Iterator[Fact]:
        """A profile tells what is missing by column: each is taken for a row of its own."""
        series = found[0][0]
        faulty = [(one, column) for one, column in found if column.missing or column.unseen]
        if len(faulty) > 1:
            self.said.remark("valid_rows is a lower bound, for values are missing in several columns of a profile")
        bad = sum(column.missing + column.unseen for _, column in faulty)
        yield Fact(replace(series, signal="volume", name=""), ts, Ratio(rows, rows))
        yield Fact(replace(series, signal="valid_rows", name=""), ts, Ratio(max(rows - bad, 0), rows))
        for one, column in faulty:
            for reason, n in (("missing", column.missing), ("unseen category", column.unseen)):
                if n:
                    name = f"{column.name}:{reason}"
                    yield Fact(replace(one, signal="valid_rows", name=name), ts, Ratio(0, n))
