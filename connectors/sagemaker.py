"""SageMaker: what Model Monitor found hour by hour, captured data, approvals and promotions, from S3 or a copy of it.

An object of the bucket is a slice: written again it takes back what it said. Distributions of the monitor are sketches
over bins that change every hour: they are put onto the feature's bins and marked approximate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from connectors import s3
from connectors._sagemaker import STATUS
from connectors._sagemaker_places import place_of
from connectors._sagemaker_reading import Reading
from tandem.connect import About, Common, Item, Pull, setting
from tandem.records import Page

ABOUT = About(
    reads="Amazon SageMaker: statistics, violations and model quality of Model Monitor, captured data, and what AWS' "
    "command line prints of model packages, endpoints and processing jobs.",
    signals=("feature", "prediction", "valid_rows", "volume", "outcome", "validation_success", "request_success"),
    events=("drift", "validation", "approval", "promotion"),
    labels={
        "endpoint": "the endpoint, by the folder or by what is printed of it",
        "schedule": "the monitoring schedule, by the folder",
        "variant": "the variant, of captured data",
        "model_package_group": "the group of model packages (on approvals)",
    },
    files=(
        "ENDPOINT/SCHEDULE/YYYY/MM/DD/HH/statistics.json, constraints.json, constraint_violations.json",
        "ENDPOINT/VARIANT/YYYY/MM/DD/HH/*.jsonl of data capture",
        "aws sagemaker list-model-packages, describe-model-package, describe-endpoint, describe-processing-job (JSON)",
        "ENDPOINT/VARIANT/*.json of aws cloudwatch get-metric-data: sums of Invocations and Invocation5XXErrors",
    ),
    horizon=7 * 86_400,
    limits=(
        "The hour of a folder is taken for the hour of the data, in UTC.",
        "Distributions are put onto the feature's bins, marked approximate; each pull says how far off a count may be.",
        "They come from the values that a sketch has kept, else from its 10 buckets, whose edges change every hour.",
        "A count below an edge is off by at most the share of the bucket around it, and the sketch's rank error.",
        "Bins and reference are made of the first 7 days, once they hold 1,000 values; those of a log go before.",
        "Missing values are known by feature, not by row: where several have some, valid_rows is a lower bound.",
        "An hour without a file of violations passed, or its job failed: its validation is excluded.",
        "The job's own description (describe-processing-job) decides it.",
        "The outcome is that of a model quality job: labels that come later count when the job writes the hour again.",
        "Metrics of model quality without counts are samples. Bias and explainability reports are not read.",
        "Captured data are exact, and may be a sample of the requests: they tell no volume.",
        "Captured features are read where columns names them; then the monitor's distributions are left out.",
        "In a bucket, folders written to in the last 3 hours are listed again, the rest once a day.",
        "CloudWatch itself is not asked: request_success comes from its saved sums, of at most 300 s each.",
        "Latency is not read, as CloudWatch tells averages and percentiles of it, which do not merge.",
    ),
    status=STATUS,
    aliases=("sagemaker_model_monitor", "model_monitor"),
    side="model",
    example="""\
connector = "sagemaker"
name = "claims-monitor"
bucket = "ml-bucket"                      # or path = "exports/sagemaker", a copy of it
prefix = "sagemaker/monitor/"
region = "eu-central-1"
# prediction = "predicted"                # the column that the model answered
  [[source.map]]
  component = "claim-risk"
  match = { endpoint = "claim-*" }
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the files lie, and which of them count."""

    common: Common
    path: Path | None = setting("A folder with a copy of the prefix.", default=None, example="exports/sagemaker")
    bucket: str = setting("Name of the bucket.", default="", example="ml-bucket")
    prefix: str = setting("What the keys of its objects begin with.", default="", example="sagemaker/monitor/")
    region: str = setting("Region of the bucket.", default="us-east-1", example="eu-central-1")
    server: str = setting("URL of another S3 than Amazon's.", default="", example="http://minio.internal:9000")
    credentials: Literal["environment", "profile", "chain", "none"] = setting(
        "Where the keys of S3 are: AWS_ACCESS_KEY_ID and the like, a profile, AWS's own chain (extra s3), or none.",
        default="environment",
    )
    access_key_env: str = setting("Environment variable with the access key.", default="AWS_ACCESS_KEY_ID")
    secret_key_env: str = setting("Environment variable with its secret.", default="AWS_SECRET_ACCESS_KEY")
    session_token_env: str = setting("Environment variable with a session's token.", default="AWS_SESSION_TOKEN")
    profile: str = setting("Section of the file of credentials.", default="default")
    endpoints: tuple[str, ...] = setting("Globs of the endpoints that count.", default=(), example=("claim-*",))
    features: tuple[str, ...] = setting("Globs of the features that count.", default=(), example=("amount", "age_*"))
    prediction: str | None = setting("The column that the model answered.", default=None, example="predicted")
    columns: tuple[str, ...] = setting(
        "Names of the columns of captured requests, in their order; left out, their features are not read.",
        default=(), example=("amount", "age", "site"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Raises ValueError for what could never be read; it never repeats a value that may be a secret."""
        if self.bucket:
            self.shelf()

    def shelf(self) -> s3.Config:
        """The bucket, as the connector of S3 reads it."""
        return s3.Config(
            self.common, bucket=self.bucket, prefix=self.prefix, endpoint=self.server, region=self.region,
            credentials=self.credentials, access_key_env=self.access_key_env, secret_key_env=self.secret_key_env,
            session_token_env=self.session_token_env, profile=self.profile,
        )  # fmt: skip


def scope(config: Config) -> str:
    """The folder, or the server, the bucket and the prefix."""
    if config.path is not None:
        return str(config.path)
    return f"{config.server.rstrip('/') or 's3:/'}/{config.bucket}/{config.prefix}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the objects say that are new or were written again, hour by hour, oldest first."""
    with ExitStack() as opened:
        yield from Reading(config, pull).pages(place_of(config, opened))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """One file, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """One file, with those that lie beside it; raises SourceRefused where it lies in no folder of an hour."""
    yield from Reading(config, replace(pull, state=None)).alone(item)


_STARTS = tuple(
    re.compile(pattern)
    for pattern in (
        rb'"dataset"\s*:\s*\{\s*"item_count".*"(?:features|\w+_metrics)"\s*:',
        rb'"features"\s*:.*"monitoring_config"\s*:',
        rb'"violations"\s*:\s*\[\s*(?:\]|\{[^{}]{0,2000}"constraint_check_type")',
        rb'\A\s*\{\s*"captureData"\s*:',
        rb'"ModelPackageSummaryList"\s*:|"ModelPackageGroupName"\s*:.*"ModelApprovalStatus"\s*:',
        rb'"EndpointConfigName"\s*:.*"EndpointStatus"\s*:',
        rb'"MetricDataResults"\s*:.*"[Ii]nvocations"',
        rb'"ProcessingOutputConfig"\s*:.*"ProcessingJobName"\s*:|"ProcessingJobName"\s*:.*"ProcessingJobStatus"\s*:',
    )
)


def recognise(item: Item) -> bool:
    """The monitor's three files, captured data, and what AWS' command line prints."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n").replace(b"\n", b" ")
    return head.startswith(b"{") and any(one.search(head) for one in _STARTS)
