"""Do the tests notice? Small faults are put into a copy of the code, one at a time, and the tests are run on each.

`python -m tests.mutation --sample 150 --seed 1 --jobs 2 [files]`, from the repository's root. Prints every fault that no
test noticed, and how many were noticed. Without files it takes those that decide who may do what and how often.
"""

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
DECIDING = {
    "accounts": "rules access steps codes tokens auth queries mails actions/*",
    "guard": "rules limits stores turns headers middleware actions access bans watch",
}
# Which tests are about the code of a folder.
TESTS: Mapping[str, Sequence[str]] = {
    "accounts": ("tests/accounts", "tests/test_permissions.py"),
    "guard": ("tests/guard",),
}
# Crowds are slow, and fail by themselves on a machine that is busy.
CROWDS = "two_hundred"
LAST = "test_races.py"
# No plugin but these: the others take longer to load than most faults to be noticed.
PLUGINS = ("-p", "pytest_django.plugin", "-p", "pytest_timeout", "-p", "pytest_cov.plugin", "-p", "no:cacheprovider")
PYTEST = ("-m", "pytest", *PLUGINS, "-q", "-m", "not process", "-k", f"not {CROWDS}")
NOTICED_BY = re.compile(r"^(?:FAILED|ERROR) ([^\s:]+::[^\s\[]+)", re.MULTILINE)
# PYTHONPATH comes before what .pth files append, not before what they insert: this runs after them.
FIRST = "import sys\nsys.path.insert(0, {!r})\n"

SWAPPED: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
}
LISTED = frozenset({"filter", "exclude", "update"})
# What they say shows in no answer: how a class is laid out, how many results a function without arguments keeps.
SILENT = frozenset({"dataclass", "lru_cache"})


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, the line before and after, and the whole file with it."""

    path: str
    line: int
    before: str
    after: str
    source: str
    lines: range
    """Of its statement; none in a function whose results are kept."""

    @property
    def area(self) -> str:
        """The folder that it is in."""
        return Path(self.path).parts[1]

    def told(self) -> dict[str, Any]:
        """What a report says of it."""
        return {"path": self.path, "line": self.line, "before": self.before, "after": self.after}


class _Collector(ast.NodeVisitor):
    """Finds what can be replaced: (start, end, text), in characters of the source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[tuple[int, int, str]] = []
        self._lines = [0]
        for line in source.encode().splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def _at(self, line: int, column: int) -> int:
        return len(self.source.encode()[: self._lines[line - 1] + column].decode())

    def _span(self, node: Any) -> tuple[int, int]:
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _replace(self, node: ast.AST, text: str) -> None:
        self.found.append((*self._span(node), text))

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> None:
        start, end = self._span(left)[1], self._span(right)[0]
        word = rf"\b{old}\b" if old[0].isalpha() else old
        self.found.append((start, end, re.sub(word, new, self.source[start:end], count=1)))

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name != "__str__":
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Nothing: before Python 3.12 what stands in one has no position."""

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, right, operator in zip(sides, node.comparators, node.ops, strict=False):
            self._between(left, right, *SWAPPED[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, *words)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start, end = self._span(node)
            self._replace(node, self.source[start:end].removeprefix("not").lstrip())
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int):
            self._replace(node, str(node.value + 1))

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in SILENT:
            return
        if isinstance(node.func, ast.Attribute) and node.func.attr in LISTED:
            given = [*node.args, *node.keywords]
            for place, keyword in enumerate(given):
                if isinstance(keyword, ast.keyword) and keyword.arg is not None:
                    start, end = self._span(keyword)
                    if place + 1 < len(given):
                        end = self._span(given[place + 1])[0]
                    elif place:
                        start = self._span(given[place - 1])[1]
                    self.found.append((start, end, ""))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log":
            return
        if called is not None:
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._replace(node.test, "False")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._replace(node.value, "None")
        self.generic_visit(node)


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Every fault that can be put into this file and makes another program of it."""
    tree = ast.parse(source)
    collector = _Collector(source)
    collector.visit(tree)
    known = {ast.dump(tree)}
    for start, end, text in sorted(collector.found):
        changed = source[:start] + text + source[end:]
        try:
            shape = ast.dump(ast.parse(changed))
        except SyntaxError:
            continue
        if shape not in known:
            known.add(shape)
            line = source.count("\n", 0, start)
            before, after = source.splitlines()[line:], changed.splitlines()[line:]
            apart = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
            told = before[apart].strip(), after[apart].strip()
            yield Mutant(path, line + apart + 1, *told, changed, _statement(tree, line + 1))


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost statement on this line; of one with a body only what stands before that."""
    found = range(line, line + 1)
    for node in ast.walk(tree):  # outer ones come first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or line):
            if isinstance(node, ast.FunctionDef) and any("lru_cache" in ast.dump(each) for each in node.decorator_list):
                return range(0)
            body = getattr(node, "body", None)
            end = max(body[0].lineno, node.lineno + 1) if body else (node.end_lineno or line) + 1
            found = range(node.lineno, end)
    return found


class Run:
    """Runs tests on mutants, so many at once, each in a copy of the code that its slot keeps.

    A mutant meets the tests that reach its line, and all of them when that is read once for the whole process.
    """

    def __init__(self, root: Path, tests: Mapping[str, Sequence[str]], *, jobs: int, timeout: float) -> None:
        self.root, self.tests, self.jobs, self.timeout = root, tests, jobs, timeout
        self._reached: dict[str, dict[int, list[str]]] = {}
        self._noticed_by: list[str] = []

    def survivors(self, chosen: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool]]:
        """Each of these, in their order, and whether no test noticed it.

        Raises SystemExit when faults would not be seen, or tests fail without one: the figures would say nothing.
        """
        with tempfile.TemporaryDirectory(prefix="mutation-") as directory, ThreadPoolExecutor(self.jobs) as pool:
            slots: SimpleQueue[Path] = SimpleQueue()
            for number in range(self.jobs):
                slots.put(self._copy(Path(directory) / str(number)))
            for area in sorted({mutant.area for mutant in chosen}):
                self._learn(Path(directory) / "0", area)

            def survives(numbered: tuple[int, Mutant]) -> bool:
                slot = slots.get()
                try:
                    return self._survives(slot, *numbered)
                finally:
                    slots.put(slot)

            yield from zip(chosen, pool.map(survives, enumerate(chosen, start=1)), strict=True)

    def _copy(self, slot: Path) -> Path:
        shutil.copytree(self.root / "src", slot / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (slot / "sitecustomize.py").write_text(FIRST.format(str(slot / "src")))
        return slot

    def _learn(self, slot: Path, area: str) -> None:
        """Which lines each test of this area reaches."""
        folder = next((slot / "src").glob(f"*/{area}"))
        with self._instead(folder / "__init__.py", "this is no Python\n", 0):
            if not self._run(slot, ["-x", *self.tests[area]]).returncode:
                raise SystemExit("The tests do not import the copy of the code.")
        (slot / "coverage").write_text(f"[run]\nconcurrency = thread\ndata_file = {slot}/reached\nsource = {folder}\n")
        measured = ["--cov", "--cov-context=test", "--cov-report=", f"--cov-config={slot}/coverage"]
        done = self._run(slot, [*measured, *self.tests[area]])
        if done.returncode:
            raise SystemExit(f"The tests of {area} fail as it is:\n{done.stdout}")
        data = CoverageData(f"{slot}/reached")
        data.read()
        for file in data.measured_files():
            self._reached[str(Path(file).relative_to(slot / "src"))] = data.contexts_by_lineno(file)

    def _survives(self, slot: Path, number: int, mutant: Mutant) -> bool:
        tests = self._tests_of(mutant)
        if not tests:
            return True
        with self._instead(slot / "src" / mutant.path, mutant.source, number):
            try:
                done = self._run(slot, ["-x", *tests], self.timeout)
            except subprocess.TimeoutExpired:
                return False
        self._noticed_by += NOTICED_BY.findall(done.stdout)
        return done.returncode == 0

    def _tests_of(self, mutant: Mutant) -> list[str]:
        """What may notice it, first what has noticed something lately, last the slow ones."""
        lines = self._reached.get(mutant.path, {})
        reached = {context for line in mutant.lines for context in lines.get(line, [])}
        if "" in reached or not mutant.lines:
            reached = {context for found in self._reached.values() for names in found.values() for context in names}
        functions = {context.rpartition("|")[0].partition("[")[0] for context in reached - {""}}
        lately = {test: place for place, test in enumerate(self._noticed_by)}
        return sorted(functions, key=lambda test: (-lately.get(test, -1), LAST in test, test))

    @contextmanager
    def _instead(self, target: Path, source: str, number: int) -> Iterator[None]:
        before, times = target.read_bytes(), target.stat()
        target.write_text(source)
        os.utime(target, (number, number))  # bytecode of the one before has another time, whatever the clock says
        try:
            yield
        finally:
            target.write_bytes(before)
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _run(
        self, slot: Path, arguments: Sequence[str], timeout: float | None = None
    ) -> "subprocess.CompletedProcess[str]":
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_", "COV"))}
        env |= {"PYTHONPATH": str(slot), "DUELY_TEST_DATABASE": "sqlite", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, *PYTEST, *arguments]
        return subprocess.run(
            command, cwd=self.root, env=env, capture_output=True, text=True, timeout=timeout, check=False
        )


def _files() -> list[Path]:
    names = [f"{area}/{name}.py" for area, listed in DECIDING.items() for name in listed.split()]
    return [file for name in names for file in sorted((ROOT / "src/duely").glob(name))]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=_files())
    parser.add_argument("--sample", type=int, default=150, help="how many of the faults to try, 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds that one may take before it counts as noticed"
    )
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--again", type=Path, help="a report: try those that survived then, and no others")
    given = parser.parse_args()
    found = [
        mutant
        for file in given.files
        for mutant in mutants(str(file.resolve().relative_to(ROOT / "src")), file.read_text())
    ]
    if given.again:
        told = json.loads(given.again.read_text())["survivors"]
        chosen = [mutant for mutant in found if mutant.told() in told]
    else:
        count = min(given.sample or len(found), len(found))
        chosen = random.Random(given.seed).sample(found, count)
    run = Run(ROOT, TESTS, jobs=given.jobs, timeout=given.timeout)
    left: list[dict[str, Any]] = []
    for mutant, survived in run.survivors(chosen):
        if survived:
            left.append(mutant.told())
            print(f"src/{mutant.path}:{mutant.line}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    killed = len(chosen) - len(left)
    print(f"{killed} of {len(chosen)} noticed: {100 * killed / max(len(chosen), 1):.1f} %")
    if given.json:
        given.json.write_text(json.dumps({"killed": killed, "total": len(chosen), "survivors": left}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
