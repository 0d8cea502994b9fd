"""The architecture's rules, checked on the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glocal

SOURCE = Path(glocal.__file__).parent
# A layer imports only from layers below it (further down in this list) or from itself.
LAYERS = [
    {"cli", "web", "__main__"},
    {"report", "evaluation", "export", "finetune", "candidates"},
    {"photo_index", "planning"},
    {"recognition"},
    {"search"},
    {"progress"},
    {"extract", "train", "index", "rerank", "pictures"},
    {"models", "store"},
    {"data"},
    {"nn"},
    {"ops"},
    {"protocols"},
    {"types"},
    {"home"},
    {"errors"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return names + [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_from_its_layer_and_below(path):
    for name in imports_of(path):
        if name.startswith("glocal."):
            target = name.split(".")[1]
            assert RANK[target] >= RANK[layer_of(path)], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_path_unpickles_or_evaluates(path):
    text = path.read_text("utf-8")
    assert not re.search(
        r"\bpickle\b(?!\.)|\bpickle\.|allow_pickle\s*=\s*True|\byaml\.load\b|\bmarshal\b|\bshelve\b", text
    ) or ("never a pickle" in text)
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"eval", "exec", "compile", "__import__"} & set(calls)


def test_all_is_sorted_and_every_name_exists():
    assert glocal.__all__ == sorted(glocal.__all__)
    for name in glocal.__all__:
        assert getattr(glocal, name) is not None


def test_no_file_is_named_utils():
    assert not [path for path in FILES if path.stem in ("utils", "util", "common", "helpers", "misc")]


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules), file=sys.stderr)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())


def test_importing_glocal_and_its_help_loads_nothing_heavy():
    heavy = {"torch", "fastapi", "cv2", "numpy", "PIL", "rich", "sqlite3"}
    assert not heavy & modules_after("import glocal")
    assert not heavy & modules_after("import glocal.cli.main as m; m.main(['--help'])")


def test_the_index_layer_loads_without_torch():
    assert "torch" not in modules_after("import glocal.index.exact, glocal.rerank.geometric")
