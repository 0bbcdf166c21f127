"""What a model was made with, from the texts that MLflow lays beside it; they are read line by line, never run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

MODEL_FILES = ("MLmodel", "requirements.txt", "python_env.yaml", "conda.yaml")
_PYTHON = (
    ("MLmodel", re.compile(r"^ +python_version:\s*['\"]?(\d[\w.]*)", re.MULTILINE)),
    ("python_env.yaml", re.compile(r"^python:\s*['\"]?(\d[\w.]*)", re.MULTILINE)),
    ("conda.yaml", re.compile(r"^\s*-\s*python==?(\d[\w.]*)", re.MULTILINE)),
)
_ITEM = re.compile(r"^\s*-\s+(?![\w-]+:)(\S.*)$")


@dataclass(frozen=True)
class Environment:
    """The version of Python, and the hash of the list of packages; "" where the texts do not say it."""

    python: str = ""
    packages: str = ""


def environment_of(texts: Mapping[str, str]) -> Environment:
    """What MLmodel, requirements.txt, python_env.yaml and conda.yaml say."""
    python = next((match[1] for name, form in _PYTHON if (match := form.search(texts.get(name, "")))), "")
    lines = _lines(texts.get("requirements.txt", "")) or _of_conda(texts.get("conda.yaml", ""))
    return Environment(python, _hash(lines))


def _lines(text: str) -> set[str]:
    """The packages of a requirements file, as pip would compare their names; without remarks and order."""
    told = (line.partition("#")[0].strip() for line in text.splitlines())
    return {_spelt(line) for line in told if line and not line.startswith("-")}


def _of_conda(text: str) -> set[str]:
    listed = text.partition("dependencies:")[2].partition("\nname:")[0]
    found = (_ITEM.match(line) for line in listed.splitlines())
    return {_spelt(match[1].strip().strip("'\"")) for match in found if match and not match[1].startswith("python=")}


def _spelt(line: str) -> str:
    name = re.match(r"[\w.-]+", line)
    return re.sub(r"[-_.]+", "-", name[0]).lower() + line[name.end() :].replace(" ", "") if name else line


def _hash(lines: set[str]) -> str:
    return f"sha256:{hashlib.sha256(chr(10).join(sorted(lines)).encode()).hexdigest()}" if lines else ""
