"""Objects of a bucket, in Amazon S3 or what speaks like it, read as the files of another connector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from connectors._s3_reading import AUTO, Reading, inner_of
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Page

ABOUT = About(
    reads="Objects of a bucket in Amazon S3, MinIO or another server of its API, as the files of another connector.",
    limits=(
        "Each object is fetched once, and again when its ETag changes: what it said before is restated.",
        "Where keys sort by time, a pull lists from the folder that was written to 3 h before the newest object.",
        "What is written elsewhere is found by the daily sweep; where keys do not sort by time, each pull lists all.",
        "Rows (predictions, delta, arize) and results by folder (nannyml, sagemaker and others) are copied into cache.",
        "An object that is deleted keeps its contribution; objects over 5 GB and archived ones are left out and said.",
        "Signals, events and files are those of the format; packed objects (gzip, zstd and others) are unpacked.",
        "Only GET requests are made, to one address; requests that are redirected elsewhere are refused.",
    ),
    side="both",
    example="""\
connector = "s3"
name = "fraud-bucket"
bucket = "ml-logs"
prefix = "fraud/"
region = "eu-central-1"
format = "predictions"                    # a connector's name, or "auto"
component = "fraud-detector"
# endpoint = "http://minio.internal:9000" # of another server than Amazon's

[source.settings]                         # the keys of that connector, without path or url
task = "binary"
id = "prediction_id"
time = "ts"
prediction = "predicted"
score = "score"
label = "label"
version = "model_version"
""",
)


@dataclass(frozen=True)
class Config:
    """One bucket, and how its objects are read."""

    common: Common
    bucket: str = setting("Name of the bucket.", default="", example="ml-logs")
    prefix: str = setting("What the keys of its objects begin with.", default="", example="fraud/")
    format: str = setting('The connector that reads the objects, or "auto".', default=AUTO)
    settings: Mapping[str, Any] | None = setting("The keys of that connector, without path or url.", default=None)
    endpoint: str = setting("URL of another server than Amazon's.", default="", example="http://minio.internal:9000")
    region: str = setting("Region of the bucket.", default="us-east-1", example="eu-central-1")
    credentials: Literal["environment", "profile", "chain", "none"] = setting(
        "Where the keys are: environment variables, a profile, AWS's own chain (extra s3), or none (open to all).",
        default="environment",
    )
    access_key_env: str = setting("Environment variable with the access key.", default="AWS_ACCESS_KEY_ID")
    secret_key_env: str = setting("Environment variable with its secret.", default="AWS_SECRET_ACCESS_KEY")
    session_token_env: str = setting("Environment variable with a session's token.", default="AWS_SESSION_TOKEN")
    profile: str = setting("Section of the file of credentials.", default="default")
    credentials_file: Path | None = setting(
        "File of credentials, mode 0600; left out, ~/.aws/credentials.", default=None, example="/run/secrets/aws"
    )
    presigned_env: str = setting(
        "Environment variable with presigned URLs of single objects, apart by spaces, in place of a bucket.", default=""
    )
    cache: Path | None = setting(
        "Folder for copies of objects; left out, in this user's cache.", default=None, example="s3-copies"
    )

    def __post_init__(self) -> None:
        """Raises ValueError for what could never be read; it never repeats a value that may be a secret."""
        for name in ("access_key_env", "secret_key_env", "session_token_env", "presigned_env"):
            said = getattr(self, name)
            if said and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,60}", said):
                raise ValueError(f"{name} must be the name of an environment variable, never the secret itself.")
        if not self.bucket and not self.presigned_env:
            raise ValueError("name a bucket, or by presigned_env the environment variable with presigned URLs.")
        if self.bucket and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", self.bucket):
            raise ValueError("bucket must be the name of a bucket alone, without s3:// and without a path.")
        if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", self.region):
            raise ValueError('region must be a name such as "eu-central-1".')
        inner_of(self, Path())


def scope(config: Config) -> str:
    """The server, the bucket and the prefix; of presigned URLs the variable that holds them."""
    if config.presigned_env:
        return f"presigned {config.presigned_env}"
    return f"{config.endpoint.rstrip('/') or 's3:/'}/{config.bucket}/{config.prefix}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the objects say that are new or were written again since the last pull."""
    yield from Reading(config, pull, scope(config)).pages()


def parse(item: Item, config: Config) -> Iterator[Page]:
    """A file that was copied out of the bucket, read as its format is."""
    module, inner = inner_of(config, item.path.parent)
    if module is None:
        raise SourceRefused(
            f"{item.name} is of no format that is said: import it with --connector NAME, or set format."
        )
    given = {"path": item.path.name} if hasattr(inner, "path") else {}
    yield from module.parse(item, replace(inner, **given))


def recognise(item: Item) -> bool:  # noqa: ARG001 (every file belongs to the connector of its format)
    """No file is S3's own."""
    return False
