"""The direction of imports, the public names, and habits that every module keeps."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import paxray_lib

PACKAGE = Path(paxray_lib.__file__).parent
MODULES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.glob("*.py"))}

# A module imports from its own layer or an earlier one. A new module gets a place here first.
LAYERS = (
    "common labels metrics processes launch",
    "bootstrap reliability surface bits maskfiles masks closing images dicom runfolder profiles",
    "dataset packing augment resident loader model networks devices published weights losses inputs overlay panels"
    " outputs dicomseg segment",
    "phantom looks scenes anatomy canvas skeleton organs projection check download explore structures ct body strays"
    " needs regions derive cases phantom_ct survey rules audit",
    "train trainconfig trainfaults trainlog memory evaluate counting tables compare options predict project ledger"
    " measure plots plots_data plots_ct plots_scores picker viewer viewer_page",
    "pages plans batch execute report sweep sweepscores sweepplots sweeppage cli __main__",
)
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules.split()}

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
    "visualize_certain_labels",
    "visualize_label",
]


def imported(tree):
    """Modules of the package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("paxray_lib.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "paxray_lib":
            found |= {alias.name for alias in node.names if alias.name not in PUBLIC or alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paxray_lib."):
            found.add(node.module.split(".")[1])
    return found & set(LAYER) | found & set(MODULES)


GRAPH = {name: imported(tree) for name, tree in MODULES.items() if name != "__init__"}


def calls(tree, name):
    return [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name
    ]


def broad_excepts(tree):
    broad = {"Exception", "BaseException"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)  # cleans up and passes it on
        and (node.type is None or any(isinstance(n, ast.Name) and n.id in broad for n in ast.walk(node.type)))
    ]


def public_definitions(tree, prefix=""):
    """Yield (name, node) of public functions, classes, methods and properties."""
    for node in tree.body:
        setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in getattr(node, "decorator_list", ()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not setter:
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{node.name}.")


def test_every_module_has_a_layer():
    assert set(GRAPH) - set(LAYER) == set(), "give each new module a place in LAYERS"


@pytest.mark.parametrize("module", GRAPH)
def test_imports_point_to_earlier_layers(module):
    later = {other for other in GRAPH[module] if LAYER[other] > LAYER[module]}
    assert not later, f"{module} (layer {LAYER[module]}) imports {later} of a later layer"


def test_imports_have_no_cycles():
    assert set(TopologicalSorter(GRAPH).static_order()) >= set(GRAPH)


def test_public_names():
    assert sorted(paxray_lib.__all__) == PUBLIC
    assert all(name in paxray_lib.__doc__ for name in ("labels", "masks", "dataset", "train", "cli"))


def test_public_names_exist():
    for name in PUBLIC:
        assert getattr(paxray_lib, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        paxray_lib.nothing  # noqa: B018


@pytest.mark.parametrize("module", ["paxray_lib", "paxray_lib.cli"])
def test_import_stays_light(module):
    heavy = ("torch", "segmentation_models_pytorch", "matplotlib", "pandas")
    code = f"import sys, {module}; sys.exit(' '.join(set(sys.modules) & set({heavy})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "", f"{module} imports {done.stderr}"


@pytest.mark.parametrize("module", MODULES)
def test_habits(module):
    tree = MODULES[module]
    assert ast.get_docstring(tree) or module == "__main__", "a module says what it is for"
    assert not calls(tree, "print"), "the library does not print"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"the library raises errors that name value and remedy: {asserts}"
    assert not broad_excepts(tree), "catch the errors that are meant"
    without = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not without, f"public, without a docstring: {without}"


@pytest.mark.parametrize("module", MODULES)
def test_unsafe_loading_stays_off(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            assert isinstance(node.value, ast.Constant), f"line {node.value.lineno}"
            assert node.value.value is (node.arg == "weights_only"), f"line {node.value.lineno}"
