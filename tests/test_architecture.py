"""The order of rooms, the public names, and habits that every module keeps."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import paxray_lib

# A room imports only from rooms before it.
ROOMS = "utils labels compute images masks metrics models graphs data importing projection quality ct prediction measurement evaluation phantoms training viz review viewer runs results sharing cli".split()  # noqa: E501, SIM905

PACKAGE = Path(paxray_lib.__file__).parent
MOST_LINES, MOST_FUNCTION_LINES, MOST_ROOM_LINES = 300, 40, 2000
PUBLIC = [
    "LABELS",
    "LabelSet",
    "LabelViewer",
    "PackedMasks",
    "PaxrayDataset",
    "TrainConfig",
    "build_model",
    "evaluate",
    "fit",
    "load_model",
    "predict",
    "predict_each",
    "visualize_certain_labels",
    "visualize_label",
]
FIXED_PATHS = [
    "paxray_lib.images.read_image",
    "paxray_lib.metrics.counts",
    "paxray_lib.metrics.iou",
    "paxray_lib.metrics.dice",
    "paxray_lib.metrics.mean_score",
    "paxray_lib.training.losses.dice_bce",
    "paxray_lib.viz.overlay.render",
]


def module_of(path):
    """Dotted name of a file of the package, below the package: ``masks.packed``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
MODULES = [name for name in TREES if name not in ("__init__", "__main__")]


def imported(tree):
    """Modules of the package that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    inner = {name.removeprefix("paxray_lib.") for name in names if name.startswith("paxray_lib.")}
    return inner & set(TREES)


GRAPH = {name: imported(TREES[name]) - {name} for name in MODULES}


def room(module):
    return module.split(".")[0]


def calls(tree, name):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def broad_excepts(tree):
    """Lines that catch everything and do not raise again."""
    broad = {"Exception", "BaseException"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and not isinstance(node.body[-1], ast.Raise)
        and (
            node.type is None
            or any(isinstance(n, ast.Name) and n.id in broad for n in ast.walk(node.type))
        )
    ]


def public_definitions(tree, prefix=""):
    """Yield (name, node) of public functions, classes, methods and properties."""
    for node in tree.body:
        decorators = getattr(node, "decorator_list", ())
        setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in decorators)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not setter:
                yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{node.name}.")


def test_ls_shows_rooms_and_few_files():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    files = {name for name in entries if "." in name}
    assert len(files) <= 4, f"move a module into its room: {files}"
    assert entries - files == set(ROOMS), "a room needs its place in ROOMS"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_earlier_rooms(module):
    order = {name: number for number, name in enumerate(ROOMS)}
    later = sorted(m for m in GRAPH[module] if order[room(m)] > order[room(module)])
    assert not later, (
        f"{module} imports {', '.join(later)}, of a later room. Move what it needs into an earlier "
        f"room, or what needs it into a later one; the order is: {' < '.join(ROOMS)}"
    )


def test_imports_have_no_cycles():
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    inner = {name: uses - packages for name, uses in GRAPH.items() if name not in packages}
    assert set(TopologicalSorter(inner).static_order()) >= set(inner)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_it_is_for_and_stays_small(name):
    assert ast.get_docstring(TREES[name])
    lines = sum(len(p.read_text().splitlines()) for m, p in SOURCES.items() if room(m) == name)
    assert lines <= MOST_ROOM_LINES, f"{lines} lines: a room is at most {MOST_ROOM_LINES}"


def test_public_names():
    assert sorted(paxray_lib.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(paxray_lib, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        paxray_lib.nothing  # noqa: B018


def test_what_is_imported_is_kept_from_the_search_for_garbage_until_torch_is_there():
    code = """
import gc, sys, weakref
import paxray_lib
class Cycle: pass
def gone():
    cycle = Cycle()
    cycle.itself = cycle
    return weakref.ref(cycle)
garbage, before = gone(), gc.get_freeze_count()
paxray_lib.PackedMasks
print(garbage() is None, gc.get_freeze_count() - before > 1000, gc.isenabled())
sys.modules["torch"], before = sys, gc.get_freeze_count()
theirs = [[] for _ in range(5000)]
paxray_lib.LabelSet
print(gc.get_freeze_count() - before < 1000, gc.isenabled())
del sys.modules["torch"]
gc.disable()
paxray_lib.LABELS
print(gc.get_freeze_count() - before < 1000, gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 6 + ["False"]


@pytest.mark.parametrize("path", FIXED_PATHS)
def test_fixed_paths(path):
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("module", ["paxray_lib", "paxray_lib.cli"])
def test_import_stays_light(module):
    heavy = ("torch", "segmentation_models_pytorch", "matplotlib", "pandas")
    code = f"import sys, {module}; sys.exit(' '.join(set(sys.modules) & set({heavy})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "", f"{module} imports {done.stderr}"


@pytest.mark.parametrize("module", ["runs.report", "runs.sweep_report"])
def test_who_runs_notebooks_leaves_torch_to_their_kernels(module):
    code = f"import sys, paxray_lib.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", MODULES)
def test_habits(module):
    tree = TREES[module]
    assert ast.get_docstring(tree), "a module says what it is for"
    assert not calls(tree, "print"), "the library does not print"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"the library raises errors that name value and remedy: {asserts}"
    assert not broad_excepts(tree), "catch the errors that are meant, or raise one with a name"
    without = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not without, f"public, without a docstring: {without}"


@pytest.mark.parametrize("module", MODULES)
def test_sizes(module):
    lines = len(SOURCES[module].read_text().splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: a file is at most {MOST_LINES}"
    long = {
        node.name: body_lines(node)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef) and body_lines(node) > MOST_FUNCTION_LINES
    }
    assert not long, f"function bodies of more than {MOST_FUNCTION_LINES} lines: {long}"


def body_lines(node):
    """Lines of a function, its signature and its docstring apart."""
    start = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno - 1
    return node.end_lineno - start


@pytest.mark.parametrize("module", MODULES)
def test_unsafe_loading_stays_off(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            assert isinstance(node.value, ast.Constant), f"line {node.value.lineno}"
            assert node.value.value is (node.arg == "weights_only"), f"line {node.value.lineno}"


# They read files of the package itself, or of the system.
OWN_FILES = {
    *("labels.table", "ct.structures", "masks.dicom_seg", "viewer.assets"),
    *("viewer.offline_page", "compute.fabric", "compute.memory", "sharing.card"),
    *("sharing.page", "sharing.live"),
}


@pytest.mark.parametrize("module", sorted(set(MODULES) - OWN_FILES - {"utils.files"}))
def test_files_of_users_are_opened_in_one_place(module):
    found = []
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            found += [node.lineno] * (not set("".join(map(str, texts))) & set("wa"))
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        found += [node.lineno] * (method in ("read_text", "read_bytes", "safe_load"))
    assert not found, (
        f"lines {found}: a pipe would block it, a device never end; use read_bytes, open_file or, "
        "for a library that takes a path, check_file of utils.files"
    )
