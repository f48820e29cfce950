"""Print the figures that tell whether the code is easy to read, beside what each should be.

    python tools/figures.py [--base REVISION]

Lines are counted as the formatter lays them out at 100 characters without its exceptions, so that
trees of other line lengths compare; --base counts a second tree, e.g. `--base v0.1`. Reads files
only; nothing of the package is imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "stillage"
WIDTH = 100
FIRST_LINE = 80  # characters of a public docstring's first line
MOST_PARAMETERS = 7
WIDE = ("functional/chunked.py", "face/")  # the public chunked loss and the face may take more
EXCEPTION = re.compile(r"(?m)^ *# fmt: (?:off|on)\n| *# fmt: (?:skip|off|on)\b")
"""What keeps lines from the formatter."""
REPEATED = 10  # lines
ONE_PER_FILE = {"Params", "terms", "source", "rollout", "main", "help_text", "points"}
"""Names that every method, verb or mosaic experiment has, each with one meaning."""
LINES_BEFORE = 41_317  # at f79d53d, as the formatter lays them out
NEW_SINCE = ("face", "result.py", "audit/scores.py")  # what can be imported, and the tables
ROOMS_WITH_TESTS = {"experiment": 0.7, "run": 0.7}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure, what it should be, and the first places that keep it from that."""

    name: str
    value: str
    goal: str
    reached: bool
    places: tuple[str, ...] = ()


def main() -> int:
    """Print all figures; return 1 where one is not what it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--base", default="", help="a revision to compare the number of lines with")
    parser.add_argument(
        "--places", type=int, default=3, help="how many places to name for each figure"
    )
    options = parser.parse_args()
    found = list(figures(ROOT, options.base))
    for figure in found:
        print(
            f"{'ok  ' if figure.reached else 'MISS'} {figure.name}: {figure.value} (goal: {figure.goal})"
        )
        if not figure.reached:
            for place in figure.places[: options.places]:
                print(f"       {place}")
    return int(not all(figure.reached for figure in found))


def figures(root: Path, base: str = "") -> Iterator[Figure]:
    """Measure every figure of the tree at root."""
    source = root / "src" / PACKAGE
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))
    }
    names = {path: module_name(path, source) for path in trees}

    cycles = [" -> ".join(cycle) for cycle in import_cycles(imports(trees, names))]
    yield counted("import cycles among files", cycles)

    functions = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    ]
    many = [
        place(path, root, node)
        for path, node in functions
        if takes(node) > MOST_PARAMETERS and not may(path)
    ]
    yield counted(f"functions with more than {MOST_PARAMETERS} parameters", many)

    kept = [
        f"{path.relative_to(root)}:{number}"
        for path, number, line in all_lines(trees)
        if EXCEPTION.search(line)
    ]
    yield counted("lines kept from the formatter", kept)
    long = [
        f"{path.relative_to(root)}:{number}"
        for path, number, line in all_lines(trees)
        if len(line) > WIDTH
    ]
    yield counted(f"lines over {WIDTH} characters", long)

    yield counted(
        f"first docstring lines over {FIRST_LINE} characters, or questions",
        list(bad_firsts(trees, root)),
    )
    yield counted("names with more than one meaning", repeated_names(trees, names))
    yield counted("code that parses notes", [place(p, root, n) for p, n in parsed_notes(trees)])
    yield counted(
        f"pieces of {REPEATED} lines or more in two rooms", repeats_between_rooms(trees, source)
    )

    lines = formatted_lines(source)
    tests = formatted_lines(root / "tests")
    yield at_least("lines of tests / lines of source", tests / max(1, lines), 0.9)
    for room, goal in ROOMS_WITH_TESTS.items():
        ratio = formatted_lines(root / "tests" / room) / max(1, formatted_lines(source / room))
        yield at_least(f"the same, {room}", ratio, goal)
    yield Figure(
        name="lines of experiment",
        value=str(formatted_lines(source / "experiment")),
        goal="< 2,500",
        reached=formatted_lines(source / "experiment") < 2500,
    )
    if base:
        before = lines_of_revision(root, base)
        yield Figure(
            name="lines of source",
            value=f"{lines:,} ({before:,} at {base})",
            goal=f"<= {0.9 * before:,.0f}",
            reached=lines <= 0.9 * before,
        )
    else:
        new = sum(formatted_lines(source / name) for name in NEW_SINCE)
        yield Figure(
            name=f"lines of source without {', '.join(NEW_SINCE)}",
            value=f"{lines - new:,} ({lines:,} with them; {LINES_BEFORE:,} before the house was put right)",
            goal=f"<= {0.9 * LINES_BEFORE:,.0f}",
            reached=lines - new <= 0.9 * LINES_BEFORE,
        )


def counted(name: str, places: list[str]) -> Figure:
    """Make a figure whose goal is none at all."""
    return Figure(
        name=name, value=str(len(places)), goal="0", reached=not places, places=tuple(places)
    )


def at_least(name: str, value: float, goal: float) -> Figure:
    """Make a figure of a ratio that should be large enough."""
    return Figure(name=name, value=f"{value:.2f}", goal=f">= {goal}", reached=value >= goal)


def module_name(path: Path, source: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = [PACKAGE, *path.relative_to(source).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(trees: dict[Path, ast.Module], names: dict[Path, str]) -> dict[str, set[str]]:
    """Return the modules of the package that each imports, wherever and for whatever it does."""
    known = set(names.values())
    found: dict[str, set[str]] = {name: set() for name in known}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for target in targets(node):
                while target and target not in known:
                    target = target.rpartition(".")[0]
                if target and target not in (names[path], PACKAGE):
                    found[names[path]].add(target)
    return found


def targets(node: ast.AST) -> list[str]:
    """Return what an import statement may name, as dotted names; nothing of other packages."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith(PACKAGE)]
    if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def import_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the groups of modules that reach each other.

    The strongly connected components of two modules or more (Tarjan 1972).
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            start = stack.index(name)
            component = stack[start:]
            del stack[start:]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def takes(node: Function) -> int:
    """Count the parameters of a function, without self and cls."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([argument for argument in arguments if argument.arg not in ("self", "cls")])


def may(path: Path) -> bool:
    """Tell whether the functions of a file may take many parameters."""
    return any(part in path.as_posix() for part in WIDE)


def place(path: Path, root: Path, node: ast.AST) -> str:
    """Say where a node stands."""
    name = f" {node.name}" if isinstance(node, Function | ast.ClassDef) else ""
    return f"{path.relative_to(root)}:{getattr(node, 'lineno', 1)}{name}"


def all_lines(trees: dict[Path, ast.Module]) -> Iterator[tuple[Path, int, str]]:
    """List every line of every file."""
    for path in trees:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path, number, line


def bad_firsts(trees: dict[Path, ast.Module], root: Path) -> Iterator[str]:
    """List public definitions whose docstring begins with a long line or a question."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, Function | ast.ClassDef | ast.Module):
                continue
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            hidden = getattr(node, "name", "").startswith("_")
            if not hidden and (len(first) > FIRST_LINE or first.endswith("?")):
                yield place(path, root, node)


def repeated_names(trees: dict[Path, ast.Module], names: dict[Path, str]) -> list[str]:
    """List names of modules, classes and public functions that stand for more than one."""
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, tree in trees.items():
        module = names[path]
        if path.name != "__init__.py" and not passes_on(tree):
            holders["module", module.rpartition(".")[2]].append(module)
        for node in tree.body:
            if not isinstance(node, Function | ast.ClassDef) or node.name in ONE_PER_FILE:
                continue
            if not node.name.startswith("_"):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                holders[kind, node.name].append(module)
    return [
        f"{kind} {name}: {', '.join(where)}"
        for (kind, name), where in holders.items()
        if len(where) > 1
    ]


def passes_on(tree: ast.Module) -> bool:
    """Tell whether a module defines nothing, and passes on names of others (`__all__`)."""
    texts, imported = (ast.Expr, ast.Import, ast.ImportFrom), False
    for node in tree.body:
        imported = imported or isinstance(node, ast.ImportFrom)
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not is_list and not isinstance(node, texts):
            return False
    return imported


def parsed_notes(trees: dict[Path, ast.Module]) -> Iterator[tuple[Path, ast.AST]]:
    """List places that take a note apart: by split, `in`, a pattern and the like."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            texts: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in (
                    "split",
                    "partition",
                    "rpartition",
                    "startswith",
                    "endswith",
                    "removeprefix",
                ):
                    texts.append(node.func.value)
                if node.func.attr in ("search", "match", "fullmatch", "findall", "finditer"):
                    texts += node.args
            if isinstance(node, ast.Compare) and any(
                isinstance(op, ast.In | ast.NotIn) for op in node.ops
            ):
                texts += node.comparators
            if any(is_note(text) for text in texts):
                yield path, node


def is_note(node: ast.expr) -> bool:
    """Tell whether a name, an attribute or a key is called note."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "note"
    return (isinstance(node, ast.Name) and node.id == "note") or (
        isinstance(node, ast.Attribute) and node.attr == "note"
    )


def repeats_between_rooms(trees: dict[Path, ast.Module], source: Path) -> list[str]:
    """List pairs of files of two rooms that share a piece of code.

    Imports, docstrings, comments and blank lines do not count.
    """
    seen: dict[tuple[str, ...], list[tuple[str, Path, int]]] = defaultdict(list)
    for path, tree in trees.items():
        room = path.relative_to(source).parts[0]
        lines = code_lines(path, tree)
        for start in range(len(lines) - REPEATED + 1):
            piece = tuple(line for _, line in lines[start : start + REPEATED])
            seen[piece].append((room, path, lines[start][0]))
    pairs: dict[tuple[Path, Path], str] = {}
    for places in seen.values():
        for (room, path, line), (other_room, other, other_line) in combinations(places, 2):
            if room != other_room and (path, other) not in pairs:
                pairs[path, other] = (
                    f"{path.relative_to(source)}:{line} ~ {other.relative_to(source)}:{other_line}"
                )
    return list(pairs.values())


def code_lines(path: Path, tree: ast.Module) -> list[tuple[int, str]]:
    """List what is code in a file: number, stripped line."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        is_text = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return [
        (number, line.strip())
        for number, line in lines
        if number not in left_out and line.strip() and not line.lstrip().startswith("#")
    ]


def formatted_lines(part: Path) -> int:
    """Count the lines of a file, or below a folder, as the formatter lays them out at WIDTH."""
    paths = sorted(part.rglob("*.py")) if part.is_dir() else [part]
    with tempfile.TemporaryDirectory() as name:
        kept = Path(name)
        for number, path in enumerate(paths):
            text = EXCEPTION.sub("", path.read_text(encoding="utf-8"))
            (kept / f"m{number}.py").write_text(text, encoding="utf-8")
        ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--quiet", "--isolated"]
        subprocess.run([*ruff, "--line-length", str(WIDTH), str(kept)], check=True)
        return sum(path.read_text(encoding="utf-8").count("\n") for path in kept.glob("*.py"))


def lines_of_revision(root: Path, revision: str) -> int:
    """Count the formatted lines of the package at a git revision."""
    archive = subprocess.run(
        ["git", "archive", revision, "src"], cwd=root, check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as name, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(name, filter="data")
        return formatted_lines(Path(name) / "src")


if __name__ == "__main__":
    sys.exit(main())
