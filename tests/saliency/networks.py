"""Small networks in ONNX files that stand in for U²-NetP."""

from __future__ import annotations

import hashlib
from pathlib import Path

from onnx import TensorProto, helper, save_model

SIDE = 16


def red_network(path: Path, *, channels: int = 3) -> str:
    """Write a network whose saliency is the sigmoid of the first channel, and return the file's SHA-256."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, SIDE, SIDE])
    saliency = helper.make_tensor_value_info("saliency", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    ends = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("zero", 0), ("one", 1))]
    nodes = [
        helper.make_node("Slice", ["image", "zero", "one", "one"], ["red"]),
        helper.make_node("Sigmoid", ["red"], ["saliency"]),
    ]
    graph = helper.make_graph(nodes, "red", [image], [saliency], initializer=ends)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()
