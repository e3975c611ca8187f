"""The rules of docs/DESIGN.md that a machine can check."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import netsynth_cli.main as main_module
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("capture", "demux", "encode", "generate", "report", "series", "verify")
SOURCES = sorted((ROOT / "netsynth").rglob("*.py"))
CLI_SOURCES = sorted((ROOT / "cli").glob("*.py"))
# Modules that any room may import, and those only the walk through the rooms may.
SHARED = {
    "analysers",
    "columns",
    "dataset",
    "errors",
    "jit",
    "memory",
    "numbers",
    "progress",
    "steps",
    "tables",
    "tcp_windows",
}
WALK = {
    "__init__",
    "ahead",
    "chain",
    "model",
    "pipeline",
    "reading",
    "sampling",
    "series_fit",
    "series_model",
    "settings",
    "summary",
}
HEAVY = ("torch", "sklearn", "gensim", "numba", "scipy", "pandas", "matplotlib")


def imported_modules(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Names of all modules that a file imports; under TYPE_CHECKING, too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            if node.module == "netsynth":
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(path: Path) -> str:
    """A room's name, or the name of a module directly in netsynth/."""
    parts = path.relative_to(ROOT / "netsynth").with_suffix("").parts
    return parts[0]


def targets(path: Path) -> set[str]:
    """Rooms and modules of netsynth that a file imports."""
    return {name.split(".")[1] for name in imported_modules(path) if name.startswith("netsynth.")}


def test_the_lists_above_are_complete() -> None:
    inside = {place(path) for path in SOURCES}
    assert inside == set(ROOMS) | SHARED | WALK


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    own, found = place(path), targets(path)
    if own in ROOMS:
        assert found <= SHARED | {own, "__version__"}, "rooms do not import each other"
    elif own in SHARED:
        assert found <= SHARED
    else:
        assert not private_names(path), "outside a room, take its public names"


def private_names(path: Path) -> list[str]:
    """What a file takes from rooms that their `__all__` does not hand out."""
    found = [name for name in imported_modules(path) if name.count(".") > 1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").removeprefix("netsynth.") in ROOMS
        ):
            public = importlib.import_module(str(node.module)).__all__
            found += [f"{node.module}.{a.name}" for a in node.names if a.name not in public]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_knows_no_command_line(path: Path) -> None:
    modules = {name.split(".")[0] for name in imported_modules(path)}
    assert not modules & {"click", "netsynth_cli", "argparse"}
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "print" not in calls, "netsynth/ logs, cli/ prints"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_lives_in_generate_and_late_elsewhere(path: Path) -> None:
    if place(path) == "generate":
        return
    if place(path) == "report":
        modules = imported_modules(path, top_level_only=True)
    else:
        modules = imported_modules(path)
    assert "torch" not in {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("path", CLI_SOURCES, ids=lambda path: path.name)
def test_commands_import_heavy_things_late(path: Path) -> None:
    modules = imported_modules(path, top_level_only=True)
    allowed = {"netsynth", "netsynth.__version__", "netsynth.errors", "netsynth.progress"}
    assert {name for name in modules if name.split(".")[0] == "netsynth"} <= allowed
    assert not {name.split(".")[0] for name in modules} & {"numpy", *HEAVY}


@pytest.mark.parametrize("module", ["netsynth", "netsynth.pipeline", "netsynth_cli.main"])
def test_importing_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not set(result.stdout.split()) & set(HEAVY)


def test_every_package_is_listed_for_the_wheel() -> None:
    """A package left off the list works when installed editable, but is not in the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "netsynth").rglob("__init__.py")
    }
    assert sorted(listed) == sorted([*folders, "netsynth_cli"])
    loose = {path.parent for path in SOURCES} - {
        path.parent for path in (ROOT / "netsynth").rglob("__init__.py")
    }
    assert not loose, "a folder with code needs an __init__.py"


def test_tests_mirror_the_rooms() -> None:
    folders = {
        path.name
        for path in (ROOT / "tests").iterdir()
        if path.is_dir() and not path.name.startswith((".", "__"))
    }
    assert folders <= {*ROOMS, "cli", "fuzz", "benchmarks"}


@pytest.mark.parametrize("name", list(main_module.COMMANDS))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"### `netsynth {name}" in (ROOT / "README.md").read_text()


def test_the_readme_lists_the_exit_codes() -> None:
    readme = (ROOT / "README.md").read_text()
    codes = [getattr(main_module, n) for n in dir(main_module) if n.startswith("EXIT_")]
    assert len(codes) == 5
    for code in (0, *codes):
        assert f"| {code} |" in readme


def test_every_sample_capture_has_its_source_and_licence() -> None:
    readme = (ROOT / "sample_pcaps" / "README.md").read_text()
    for path in (ROOT / "sample_pcaps").iterdir():
        if path.name != "README.md":
            assert f"`{path.name}`" in readme, path.name
