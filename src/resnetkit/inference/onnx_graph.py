"""An ONNX graph in the making: values are added to, multiplied and divided as NumPy's arrays are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import onnx

# Versions of the format and of the operators: what ONNX Runtime 1.17 (2024) and OpenVINO 2024 read.
_IR_VERSION, _OPSET = 9, 19
_ELEMENT = {"float32": 1, "uint8": 2, "int64": 7, "bool": 9}  # onnx.TensorProto's numbers of types
Operand: TypeAlias = "Value | np.ndarray | int | float"


class Graph:
    """Nodes and constants; nodes are named `prefix`, operator, number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.prefix = ""

    def input(self, name: str, shape: list[int | str], dtype: str) -> Value:
        """Add an input of the whole graph; sizes given as text are free."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, _ELEMENT[dtype], shape))
        return Value(self, name, dtype)

    def constant(self, array: np.ndarray, *, name: str | None = None) -> Value:
        """Add a constant."""
        from onnx import numpy_helper

        name = name or f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return Value(self, name, str(array.dtype))

    def add(
        self, operator: str, *inputs: Value, dtype: str | None = None, called: str | None = None, **attributes: Any
    ) -> Value:
        """Add a node; its output has the type of the first input where `dtype` names no other."""
        name = called or f"{self.prefix}{operator}_{len(self.nodes)}"
        self._node(operator, inputs, name, [name], attributes)
        return Value(self, name, dtype or inputs[0].dtype)

    def best(self, values: Value, count: int) -> tuple[Value, Value]:
        """Add the `count` largest of each row, the largest first, and their places in the row."""
        name = f"{self.prefix}TopK_{len(self.nodes)}"
        names = [f"{name}.values", f"{name}.places"]
        self._node("TopK", (values, self.constant(np.array([count]))), name, names, {"axis": -1})
        return Value(self, names[0], values.dtype), Value(self, names[1], "int64")

    def _node(
        self, operator: str, inputs: Sequence[Value], name: str, outputs: list[str], attributes: dict[str, Any]
    ) -> None:
        from onnx import helper

        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(operator, names, outputs, name=name, **attributes))

    def model(self, output: Value, shape: list[int | str]) -> onnx.ModelProto:
        """Return the whole with one output; raises `onnx.checker.ValidationError` for what is no graph."""
        import onnx
        from onnx import helper

        result = helper.make_tensor_value_info(output.name, _ELEMENT[output.dtype], shape)
        made = helper.make_graph(self.nodes, "resnetkit", self.inputs, [result], initializer=self.constants)
        versions = {"opset_imports": [helper.make_opsetid("", _OPSET)], "ir_version": _IR_VERSION}
        model = helper.make_model(made, producer_name="resnetkit", **versions)
        onnx.checker.check_model(model)
        return model


class Value:
    """The output of a node, an input or a constant. Numbers beside it become constants of its type."""

    def __init__(self, graph: Graph, name: str, dtype: str) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype

    def apply(self, operator: str, *others: Operand, dtype: str | None = None, **attributes: Any) -> Value:
        """Add a node with this value as its first input."""
        return self.graph.add(operator, self, *(self._value(other) for other in others), dtype=dtype, **attributes)

    def _value(self, other: Operand) -> Value:
        return other if isinstance(other, Value) else self.graph.constant(np.asarray(other, self.dtype))

    def __add__(self, other: Operand) -> Value:
        return self.apply("Add", other)

    def __sub__(self, other: Operand) -> Value:
        return self.apply("Sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self.apply("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        assert self.dtype == "float32"
        return self.apply("Div", other)

    def __floordiv__(self, other: Operand) -> Value:
        """Divide whole numbers that are not negative, or take the floor of a quotient."""
        return self.apply("Div", other) if self.dtype == "int64" else (self / other).apply("Floor")

    def __mod__(self, other: Operand) -> Value:
        return self.apply("Mod", other)

    def __lt__(self, other: Operand) -> Value:
        return self.apply("Less", other, dtype="bool")

    def __ge__(self, other: Operand) -> Value:
        return self.apply("GreaterOrEqual", other, dtype="bool")

    def __matmul__(self, other: Value) -> Value:
        return self.apply("MatMul", other)

    def abs(self) -> Value:
        """Without its sign."""
        return self.apply("Abs")

    def at_least(self, other: Operand) -> Value:
        """The larger of the two."""
        return self.apply("Max", other)

    def at_most(self, other: Operand) -> Value:
        """The smaller of the two."""
        return self.apply("Min", other)

    def cast(self, dtype: str) -> Value:
        """In another type."""
        return self.apply("Cast", dtype=dtype, to=_ELEMENT[dtype])

    def transposed(self, *axes: int) -> Value:
        """With its axes in another order."""
        return self.apply("Transpose", perm=list(axes))

    def column(self) -> Value:
        """`[N]` as `[N, 1]`."""
        return self.with_axis(1)

    def with_axis(self, axis: int) -> Value:
        """With an axis more, of one."""
        return self.graph.add("Unsqueeze", self, self.graph.constant(np.array([axis])))

    def shaped(self, *shape: int) -> Value:
        """In another shape; a 0 takes the size that was there, -1 what is left."""
        return self.graph.add("Reshape", self, self.graph.constant(np.array(shape)))

    def part(self, start: int, end: int, *, axis: int, step: int = 1) -> Value:
        """Every `step`-th of what lies between two places of an axis."""
        where = (self.graph.constant(np.array([number])) for number in (start, end, axis, step))
        return self.graph.add("Slice", self, *where)

    def at(self, places: Value) -> Value:
        """The things of each picture that lie at its own places: `[N, A, ...]` at `[N, P]` is `[N, P, ...]`."""
        return self.graph.add("GatherND", self, places.with_axis(2), batch_dims=1)

    def row_sums(self) -> Value:
        """`[N, M]` summed to `[N, 1]`."""
        return self.graph.add("ReduceSum", self, self.graph.constant(np.array([1])), keepdims=1)
