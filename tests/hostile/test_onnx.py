"""Damaged and hostile ONNX files: none makes another file be read, or ends by a fault."""

import onnx
import pytest
from helpers.hostile import Case, cases, run_case
from helpers.onnx_files import changed_onnx, onnx_bytes, with_text
from onnx import TensorProto, helper

from paxray_lib.graphs.session import load_onnx

PREDICT = "predict --images {here} --out {here}/out --weights {here}/x.onnx"


def file_of(make):
    """Return what writes the bytes that `make` returns."""
    return lambda here: (here / "x.onnx").write_bytes(make())


def changed(change):
    return file_of(lambda: changed_onnx(change))


def text(key, value):
    return file_of(lambda: with_text(key, value))


def identity():
    """A model of somebody else's."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return helper.make_model(graph).SerializeToString()


def outside(tensor):
    """Let a tensor lie in a file that every machine has."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"


def outside_in_a_node(model):
    node = next(node for node in model.graph.node if node.op_type == "Constant")
    outside(node.attribute[0].t)


def outside_in_a_branch(model):
    inner = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    outside(inner)
    constant = helper.make_node("Constant", [], ["c"], value=inner)
    end = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])
    branch = helper.make_graph([constant], "b", [], [end])
    node = helper.make_node("If", ["inputs"], ["z"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)


def first_weight(model):
    return next(item for item in model.graph.initializer if item.name.endswith("conv1.0.weight"))


def without_a_weight(model):
    model.graph.initializer.remove(first_weight(model))


def huge_tensor(model):
    first_weight(model).dims[0] = 2**40


def half_a_tensor(model):
    tensor = first_weight(model)
    tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]


def instead_of_coarse(*nodes):
    """Let other nodes make the logits."""

    def change(model):
        last = next(node for node in model.graph.node if "coarse" in node.output)
        last.output[0] = "before"
        model.graph.node.extend(nodes)

    return change


def huge_result():
    shape = helper.make_tensor("s", TensorProto.INT64, [4], [1, 3, 2**20, 2**20])
    return (
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["more"]),
        helper.make_node("Mul", ["before", "more"], ["coarse"]),
    )


def other_operators(model):
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def undeclared_operator():
    """An operator of onnxruntime's own, which runs it whether or not the file declares it."""
    return helper.make_node("QuickGelu", ["before"], ["coarse"], domain="com.microsoft")


def own_function(model):
    node = helper.make_node("Identity", ["a"], ["b"])
    domains = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("d", "f", ["a"], ["b"], [node], domains))


@cases(
    ("empty", file_of(lambda: b""), PREDICT, 2, r"x\.onnx: the file is empty"),
    ("a text", file_of(lambda: b"no model " * 99), PREDICT, 2, r"x\.onnx: no ONNX file, damaged"),
    (
        "cut in the weights",
        file_of(lambda: onnx_bytes()[:-9000]),
        *(PREDICT, 2, r"x\.onnx: no ONNX file, damaged or cut short \(a field claims \d+ bytes"),
    ),
    (
        "cut in the graph",
        file_of(lambda: onnx_bytes()[:2000]),
        *(PREDICT, 2, r"x\.onnx: no ONNX file, damaged or cut short"),
    ),
    (
        "a length of 2^62 bytes",
        file_of(lambda: b"\x3a" + b"\xff" * 8 + b"\x3f" + onnx_bytes()),
        *(PREDICT, 2, r"x\.onnx: no ONNX file, .*claims 4611686018427387903 bytes"),
    ),
    (
        "a number without an end",
        file_of(lambda: b"\x08" + b"\xff" * 40),
        *(PREDICT, 2, r"x\.onnx: no ONNX file, .*a number that does not end"),
    ),
    (
        "of another program",
        file_of(identity),
        *(PREDICT, 2, r"x\.onnx: its metadata have no labels, .*: paxray export onnx"),
    ),
    ("no labels", text("labels", None), PREDICT, 2, r"x\.onnx: its metadata have no labels:"),
    ("labels cut off", text("labels", '["a",'), PREDICT, 2, r"x\.onnx: damaged \(labels: not"),
    ("labels that are a number", text("labels", "3"), PREDICT, 2, r"x\.onnx: damaged \(labels is"),
    (
        "fewer labels than the network has",
        text("labels", '["a", "b"]'),
        *(PREDICT, 2, r"x\.onnx: onnxruntime cannot run it \(\(1, 3, .*logits of 2 labels"),
    ),
    (
        "a size of 10^6 pixels",
        text("preprocessing", '{"kind": "standard", "size": [1000000, 1000000]}'),
        *(PREDICT, 2, r"x\.onnx: damaged \(preprocessing size"),
    ),
    ("no config", text("config", "{}"), PREDICT, 2, r"x\.onnx: damaged \(config"),
    (
        "weights in another file",
        changed(lambda model: outside(first_weight(model))),
        *(PREDICT, 2, r"x\.onnx: damaged \(its weights lie in another file, which is refused"),
    ),
    (
        "a constant in another file",
        changed(outside_in_a_node),
        *(PREDICT, 2, r"x\.onnx: damaged \(its weights lie in another file"),
    ),
    (
        "a branch with a constant in another file",
        changed(outside_in_a_branch),
        *(PREDICT, 2, r"x\.onnx: damaged \(its weights lie in another file"),
    ),
    ("a weight less", changed(without_a_weight), PREDICT, 2, r"x\.onnx: damaged \(it has no weig"),
    ("a tensor of 2^40 rows", changed(huge_tensor), PREDICT, 2, r"x\.onnx: damaged \(cannot resh"),
    ("half a tensor", changed(half_a_tensor), PREDICT, 2, r"x\.onnx: damaged \(cannot reshape"),
    (
        "no logits",
        changed(instead_of_coarse()),
        *(PREDICT, 2, r"x\.onnx: damaged \(its graph does not lead from inputs to coarse"),
    ),
    (
        "logits of 12 TB",
        changed(instead_of_coarse(*huge_result())),
        *(PREDICT, 2, r"x\.onnx: onnxruntime cannot run it"),
    ),
    (
        "an operator that there is not",
        changed(instead_of_coarse(helper.make_node("Nonsense", ["before"], ["coarse"]))),
        *(PREDICT, 2, r"x\.onnx: onnxruntime cannot run it .*Nonsense"),
    ),
    ("operators of others", changed(other_operators), PREDICT, 2, r"x\.onnx: .*com\.example"),
    (
        "an operator of others, undeclared",
        changed(instead_of_coarse(undeclared_operator())),
        *(PREDICT, 2, r"x\.onnx: .*operators that are not ONNX's: com\.microsoft"),
    ),
    ("a function", changed(own_function), PREDICT, 2, r"x\.onnx: .*it has functions"),
    (
        "on a GPU",
        file_of(onnx_bytes),
        *(
            PREDICT + " --device cuda",
            2,
            r"x\.onnx: ONNX files run on the CPU in float32, not on c",
        ),
    ),
)
def test_files(case: Case, tmp_path):
    run_case(case, here=tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_checker_finds_no_fault_in_what_is_changed_here():
    onnx.checker.check_model(onnx.load_from_string(onnx_bytes()))


@pytest.mark.parametrize("at", range(20))
def test_a_changed_byte_gives_a_network_or_an_error_that_names_the_file(at, tmp_path):
    data = bytearray(onnx_bytes())
    data[len(data) * (2 * at + 1) // 40] ^= 0xFF
    (tmp_path / "x.onnx").write_bytes(data)
    try:
        assert load_onnx(tmp_path / "x.onnx").labels
    except ValueError as error:
        assert str(error).startswith(f"{tmp_path}/x.onnx: ")  # noqa: PT017
