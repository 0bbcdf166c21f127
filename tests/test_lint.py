"""House rules that no linter knows, read from the syntax trees of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("tandem", "connectors", "dashboard")

SQL = re.compile(
    r"^\s*(WITH\s+\w+\s+AS\s*\(|SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|VIEW|INDEX)\s"
    r"|DROP\s+TABLE\s|ALTER\s+TABLE\s|PRAGMA\s|COPY\s+\w+\s+(TO|FROM)\s)"
)
SQL_ROOMS = (
    "tandem/store/",
    "tandem/summarise",  # in memory, over people's files
    "connectors/_sqlite.py",  # reads sqlite files of other programs
)
DATABASE = ("tandem/store/", "tandem/summarise")
CLOCK_FREE = (
    "records", "bins", "slo", "drift", "quality", "intervals", "derive", "delivery", "ranking", "times",
    "config", "strict", "template",
)  # fmt: skip
CLOCKS = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "dt.datetime.now"}
HTTP = {"requests", "httpx", "urllib3", "aiohttp"}
CODE_FROM_DATA = {"pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve", "pickletools"}
SINKS = {"markdown", "html", "caption", "title", "header", "subheader", "write", "info", "warning", "error", "success"}
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "manager", "handler", "processor", "misc"}

Rule = Callable[[str, ast.Module], Iterator[ast.AST]]


@cache
def trees(*rooms: str) -> dict[str, ast.Module]:
    paths = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imported(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node


def imports(modules: set[str], *allowed: str) -> Rule:
    def found(path: str, tree: ast.Module) -> Iterator[ast.AST]:
        if not path.startswith(allowed):
            yield from (node for name, node in imported(tree) if name.partition(".")[0] in modules)

    return found


def broad_except(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {one.id if isinstance(one, ast.Name) else None if one is None else "" for one in caught}
            last = node.body[-1]
            cleans_up = isinstance(last, ast.Raise) and last.exc is None
            if names & {"Exception", "BaseException", None} and not cleans_up:
                yield node


def docstrings(tree: ast.Module) -> set[int]:
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if node.body and isinstance(node.body[0], ast.Expr)
    }


def sql_text(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    if path.startswith(SQL_ROOMS):
        return
    said = docstrings(tree)
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in said else None
        if isinstance(text, str) and SQL.match(text):
            yield node


def clock(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    if path not in {f"tandem/{name}.py" for name in CLOCK_FREE}:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS:
            yield node
    yield from (node for name, node in imported(tree) if name == "time")


def runs_text(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
            yield node


def unescaped_sink(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if any(keyword.arg == "unsafe_allow_html" for keyword in node.keywords):
            yield node
        on_streamlit = isinstance(node.func.value, ast.Name) and node.func.value.id == "st"
        if on_streamlit and node.func.attr == "table":
            yield node
        if on_streamlit and node.func.attr in SINKS and any(isinstance(one, ast.JoinedStr) for one in node.args):
            yield node


def path_surgery(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("sys.path."):
            yield node


def xml_parser(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
        module = node.module or "" if isinstance(node, ast.ImportFrom) else " ".join(names)
        if module.startswith(("xml", "lxml")) and not names <= {"Element", "ParseError"}:
            yield node


def empty_name(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    if set(path.removesuffix(".py").replace("/", "_").split("_")) & EMPTY_WORDS:
        yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words = [word.lower() for word in re.findall(r"[A-Z][a-z]*", node.name)]
            if len(words) > 1 and words[-1] in EMPTY_WORDS:
                yield node


def deep_class(path: str, tree: ast.Module) -> Iterator[ast.AST]:
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def depth(name: str) -> int:
        bases = [base.id for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes]
        return 1 + max(map(depth, bases), default=0)

    yield from (node for name, node in classes.items() if depth(name) > 2)


RULES: dict[str, Rule] = {
    "SQL stands in tandem/store": sql_text,
    "duckdb is opened in tandem/store and summarise": imports({"duckdb"}, *DATABASE),
    "requests is used in connectors/_http_wire.py": imports(HTTP, "connectors/_http_wire.py"),
    "streamlit and plotly are used in dashboard": imports({"streamlit", "plotly"}, "dashboard/"),
    "no code comes out of data": imports(CODE_FROM_DATA),
    "nothing evaluates text": runs_text,
    "XML is parsed by defusedxml": xml_parser,
    "pure code has no clock": clock,
    "what is drawn is escaped": unescaped_sink,
    "sys.path is left alone": path_surgery,
    "names say what they hold": empty_name,
    "classes are flat": deep_class,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_house_rule(rule: Rule) -> None:
    broken = [
        f"{path}:{getattr(node, 'lineno', 1)}" for path, tree in trees(*ROOMS).items() for node in rule(path, tree)
    ]
    assert broken == []


def test_one_place_catches_everything() -> None:
    places = [path for path, tree in trees(*ROOMS).items() for _ in broad_except(path, tree)]
    assert places == ["tandem/collect.py"]


PLANTED = {
    "SQL stands in tandem/store": 'query = "SELECT 1"',
    "duckdb is opened in tandem/store and summarise": "def f():\n    import duckdb",
    "requests is used in connectors/_http_wire.py": "from requests import get",
    "streamlit and plotly are used in dashboard": "import plotly.graph_objects",
    "no code comes out of data": "import pickle",
    "nothing evaluates text": 'eval("1")',
    "XML is parsed by defusedxml": "import xml.etree.ElementTree",
    "pure code has no clock": "import time",
    "what is drawn is escaped": 'st.markdown(f"{name}")',
    "sys.path is left alone": "sys.path.insert(0, 'x')",
    "names say what they hold": "class StoreManager: ...",
    "classes are flat": "class A: ...\nclass B(A): ...\nclass C(B): ...",
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_sees_what_it_forbids(name: str) -> None:
    assert list(RULES[name]("tandem/slo.py", ast.parse(PLANTED[name])))


@pytest.mark.parametrize("code", ["except Exception: ...", "except: ...", "except (OSError, BaseException): ..."])
def test_the_search_for_broad_excepts_sees_them(code: str) -> None:
    assert list(broad_except("", ast.parse(f"try: ...\n{code}")))
    assert not list(broad_except("", ast.parse(f"try: ...\n{code.replace('...', 'raise')}")))
    assert not list(broad_except("", ast.parse("try: ...\nexcept (OSError, json.JSONDecodeError): ...")))
