"""A detector as an ONNX graph: pyramid, proposals, heads and both suppressions, for any number of pictures at once.

Every size is fixed by the frame but the number of boxes that a suppression keeps: those become marks on a row of fixed
length, so that no picture's boxes depend on another's, and rows of no object are told by their score of 0. Tests hold
it to `models.detection.network`, and each export compares the two on real pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.graph_layers import LOGITS, OBJECTS, Layers, stages
from resnetkit.inference.onnx_graph import Graph, Value
from resnetkit.inference.resizing import placement
from resnetkit.models.detection.spec import BODY, MASK_SIDE, DetectorSpec
from resnetkit.models.spec import Window

# Nodes whose names begin so compute with coordinates and scores, which 8 bits do not hold.
PREFIX = "boxes_"
# Those of the last layers, which say scores and offsets; they are small, and 8 bits cost more there than they save.
LAST = "last_"
_ONE, _THREE = Window(1, 1, 0), Window(3, 1, 1)
_BOX_SIDE, _SAMPLES = 7, 2
# torchvision's own: boxes that are as good as empty, the most that a side grows, and in what units offsets come.
_LEAST_PROPOSAL, _LEAST_OBJECT = 1e-3, 1e-2
_MOST_GROWTH = math.log(1000 / 16)
_PROPOSED, _REFINED = (1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)
# A box of 224 pixels is cut from the level of stride 16.
_USUAL_SIDE, _USUAL_LEVEL, _ROUNDING = 224, 4, 1e-6


def objects(
    graph: Graph, spec: DetectorSpec, tensors: Mapping[str, np.ndarray], images: Value, frame: tuple[int, int]
) -> Value:
    """Add `Detector.forward` in evaluation mode: normalised `[N, C, H, W]` of the `frame` to `[N, D, 6 (+ 784)]`."""
    return _Detector(graph, spec, tensors, frame).objects(images)


def on_the_picture(graph: Graph, rows: Value, picture: Value, preprocess: Preprocess) -> Value:
    """Add the same objects in pixels of the picture `[1, H, W, C]` that was resized; what is empty there is none."""
    graph.prefix = PREFIX
    size, new_size, start = placement(graph, picture, preprocess)
    boxes = (rows.part(0, 4, axis=2) + graph.add("Concat", start, start, axis=0)) * graph.add(
        "Concat", *[size / new_size] * 2, axis=0
    )
    boxes = boxes.at_least(0.0).at_most(graph.add("Concat", size, size, axis=0))
    first, last = _corners(boxes)
    shorter = graph.add("ReduceMin", last - first, graph.constant(np.array([-1])), keepdims=1)
    real = _positive(shorter) * _positive(rows.part(4, 5, axis=2))
    scores, labels = rows.part(4, 5, axis=2), rows.part(5, 6, axis=2)
    masks = rows.part(6, 2**31, axis=2)
    told = graph.add("Concat", boxes * real, scores * real, (labels + 1.0) * real - 1.0, masks * real, axis=2)
    graph.prefix = ""
    return graph.add("Identity", told, called=OBJECTS)


class _Detector:
    """Adds the parts of one detector."""

    def __init__(
        self, graph: Graph, spec: DetectorSpec, tensors: Mapping[str, np.ndarray], frame: tuple[int, int]
    ) -> None:
        self.graph, self.spec = graph, spec
        self.body = Layers(graph, spec.backbone, tensors, prefix=BODY, epsilon=spec.epsilon)
        self.layers = Layers(graph, spec.backbone, tensors)
        self.sizes = [(-(-frame[0] // stride), -(-frame[1] // stride)) for stride in spec.strides]
        height, width = frame
        self.limits = np.array([width, height, width, height], np.float32)

    def objects(self, images: Value) -> Value:
        levels = self._pyramid(images)
        self.graph.prefix = PREFIX
        proposals, there = self._proposals(levels)
        count = len(self.spec.levels)
        pooled, flat = self._cut(levels[:count], proposals.shaped(-1, 4), self._pictures(proposals), _BOX_SIDE)
        proposals = flat.shaped(-1, self._num_proposals, 4)
        self.graph.prefix = ""
        logits, offsets = self._classified(pooled)
        self.graph.prefix = PREFIX
        rows = self._kept(proposals, there, logits, offsets)
        if self.spec.masks:
            rows = self._with_masks(levels[:count], rows)
        else:
            rows = self.graph.add("Identity", rows, called=LOGITS)
        self.graph.prefix = ""
        return rows

    def _block(self, name: str, x: Value, window: Window, *, relu: bool = True) -> Value:
        """torchvision's `Conv2dNormActivation`, with BatchNorm in version 2 of pyramid and heads."""
        x = self.layers.convolution(f"{name}.0", x, window)
        if f"{name}.1.weight" in self.layers.tensors:
            x = self.layers.norm(f"{name}.1", x)
        return self.graph.add("Relu", x) if relu else x

    def _pyramid(self, images: Value) -> list[Value]:
        """Add `Pyramid.forward`: `[N, channels, h, w]` of each level, the finest first."""
        count = len(self.spec.levels)
        outputs = stages(self.body, images)[-count:]
        above: Value | None = None
        levels: list[Value] = []
        for number in reversed(range(count)):
            inner = self._block(f"backbone.fpn.inner_blocks.{number}", outputs[number], _ONE, relu=False)
            above = inner if above is None else inner + self._enlarged(above, number)
            levels.insert(0, self._block(f"backbone.fpn.layer_blocks.{number}", above, _THREE, relu=False))
        if self.spec.extra:
            levels.append(self.layers.pool(levels[-1], Window(1, 2, 0)))
        return levels

    def _enlarged(self, x: Value, number: int) -> Value:
        """Add the cells of the level above `number` in its size, each the nearest one's."""
        graph, here, above = self.graph, self.sizes[number], self.sizes[number + 1]
        if all(size == 2 * other for size, other in zip(here, above, strict=True)):
            scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
            modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return graph.add("Resize", x, Value(graph, "", "float32"), scales, **modes)
        for axis, size, other in zip((2, 3), here, above, strict=True):
            nearest = np.floor(np.arange(size, dtype=np.float32) * (np.float32(other) / np.float32(size)))
            x = graph.add("Gather", x, graph.constant(nearest.astype(np.int64).clip(max=other - 1)), axis=axis)
        return x

    def _proposals(self, levels: list[Value]) -> tuple[Value, Value]:
        """Add the boxes that may hold an object, `[N, P, 4]`, and which of them there are, `[N, P]` 1 or 0."""
        found = [self._proposed(number, level) for number, level in enumerate(levels)]
        boxes, scores = (self.graph.add("Concat", *parts, axis=1) for parts in zip(*found, strict=True))
        scores, places = self.graph.best(scores, self._num_proposals)
        return boxes.at(places), _positive(scores)

    @property
    def _num_proposals(self) -> int:
        return min(self.spec.proposals_after[1], sum(map(self._before, range(self.spec.num_levels))))

    def _before(self, number: int) -> int:
        height, width = self.sizes[number]
        return min(self.spec.proposals_before[1], height * width * self.spec.num_anchors)

    def _proposed(self, number: int, level: Value) -> tuple[Value, Value]:
        """Add the boxes of one level, `[N, B, 4]`, and their scores `[N, B]`, 0 for what the suppression took."""
        spec, graph, (height, width), depth = (
            self.spec,
            self.graph,
            self.sizes[number],
            2 if self.spec.version == "v2" else 1,
        )
        graph.prefix = f"level{number}_"
        for layer in range(depth):
            level = self._block(f"rpn.head.conv.{layer}", level, _THREE)
        graph.prefix = LAST
        objectness = self.layers.convolution("rpn.head.cls_logits", level, _ONE)
        offsets = self.layers.convolution("rpn.head.bbox_pred", level, _ONE)
        graph.prefix = PREFIX
        # The order is torchvision's: rows, columns, anchors at a place.
        objectness = objectness.transposed(0, 2, 3, 1).shaped(0, height * width * spec.num_anchors)
        offsets = offsets.shaped(0, spec.num_anchors, 4, height, width).transposed(0, 3, 4, 1, 2).shaped(0, -1, 4)
        sure, places = graph.best(objectness, self._before(number))
        anchors = graph.add("Gather", graph.constant(self._anchors(number)), places)
        boxes = self._decoded(offsets.at(places), anchors, _PROPOSED)
        scores = sure.apply("Sigmoid") * self._large(boxes, _LEAST_PROPOSAL)
        kept = self._suppressed(boxes, scores, overlap=spec.proposal_overlap, least=0.0, most=spec.proposals_after[1])
        return boxes, scores * kept

    def _anchors(self, number: int) -> np.ndarray:
        """Return the anchors of a level, `[A, 4]`, as torchvision's `AnchorGenerator` lays them out."""
        stride, (height, width) = self.spec.strides[number], self.sizes[number]
        tall = np.sqrt(np.array(self.spec.aspect_ratios, np.float32))
        sizes = np.array(self.spec.anchor_sizes[number], np.float32)
        wide, high = ((ratios[:, None] * sizes).reshape(-1) for ratios in (1 / tall, tall))
        sides: np.ndarray = np.stack([-wide, -high, wide, high], axis=1)
        around = np.round(sides / 2)
        down, across = (axis.reshape(-1) for axis in np.mgrid[:height, :width] * np.float32(stride))
        return (np.stack([across, down, across, down], axis=1)[:, None] + around).reshape(-1, 4).astype(np.float32)

    def _decoded(self, offsets: Value, boxes: Value, units: tuple[float, float, float, float]) -> Value:
        """Add the boxes `[..., 4]` moved and resized by their offsets, cut at the frame."""
        first, last = _corners(boxes)
        size = last - first
        middle = first + size * 0.5
        moved, grown = _corners(offsets)
        moved, grown = moved / np.array(units[:2]), grown / np.array(units[2:])
        middle, half = moved * size + middle, grown.at_most(_MOST_GROWTH).apply("Exp") * size * 0.5
        boxes = self.graph.add("Concat", middle - half, middle + half, axis=-1)
        return boxes.at_least(0.0).at_most(self.limits)

    def _large(self, boxes: Value, least: float) -> Value:
        """Add 1 for each box whose sides are no shorter than that, else 0."""
        first, last = _corners(boxes)
        shorter = self.graph.add("ReduceMin", last - first, self.graph.constant(np.array([-1])), keepdims=0)
        return (shorter >= least).cast("float32")

    def _suppressed(self, boxes: Value, scores: Value, *, overlap: float, least: float, most: int) -> Value:
        """Add 1 for each of the boxes `[N, B, 4]` that none with a higher score overlaps by more, else 0."""
        graph = self.graph
        limits = (np.array([most]), np.array([overlap], np.float32), np.array([least], np.float32))
        kept = graph.add("NonMaxSuppression", boxes, scores.with_axis(1), *map(graph.constant, limits), dtype="int64")
        places = graph.add("Gather", kept, graph.constant(np.array([0, 2])), axis=1)
        ones = graph.add("Gather", kept, graph.constant(np.array(1)), axis=1).cast("float32") + 1.0  # of class 0
        return graph.add("ScatterND", scores * 0.0, places, ones)

    def _pictures(self, boxes: Value) -> Value:
        """Add which picture each of the boxes `[N, B, 4]` is on, `[N * B]`."""
        graph = self.graph
        counts = graph.add("Shape", boxes, dtype="int64")
        numbers = self._numbers(graph.add("Gather", counts, graph.constant(np.array(0))))
        all_of_each = graph.add("Gather", counts, graph.constant(np.array([0, 1])))
        return graph.add("Expand", numbers.column(), all_of_each).shaped(-1)

    def _numbers(self, count: Value) -> Value:
        return self.graph.add("Range", self.graph.constant(np.array(0)), count, self.graph.constant(np.array(1)))

    def _cut(self, levels: list[Value], boxes: Value, pictures: Value, side: int) -> tuple[Value, Value]:
        """Add what lies in boxes `[R, 4]` of these pictures, each on the level that fits its size; and the boxes.

        What computes with the boxes goes on with those: OpenVINO in bf16 would round them on their way to the levels if
        nothing that it keeps in fp32 came of them.
        """
        graph, strides = self.graph, self.spec.strides
        if len(levels) == 1:
            return self._aligned(levels[0], boxes, pictures, side, strides[0]), boxes
        first, last = _corners(boxes)
        area = graph.add("ReduceProd", last - first, graph.constant(np.array([-1])), keepdims=0)
        length = area.apply("Sqrt")
        above = [
            length >= _USUAL_SIDE * 2.0 ** (stride.bit_length() - 1 - _USUAL_LEVEL - _ROUNDING)
            for stride in strides[1 : len(levels)]
        ]
        parts, cuts, places = [], [], []
        for number, level in enumerate(levels):
            fits = above[number - 1] if number else above[0].apply("Not")
            if 0 < number < len(above):
                fits = fits.apply("And", above[number].apply("Not"))
            own = graph.add("NonZero", fits, dtype="int64").shaped(-1)
            where, there = (graph.add("Gather", values, own) for values in (boxes, pictures))
            parts.append(self._aligned(level, where, there, side, strides[number]))
            cuts.append(where)
            places.append(own)
        together = graph.add("Concat", *places, axis=0)
        count = graph.add("Squeeze", graph.add("Shape", pictures, dtype="int64"), graph.constant(np.array([0])))
        order = graph.add("ScatterElements", pictures, together, self._numbers(count), axis=0)
        pooled, boxes = (graph.add("Gather", graph.add("Concat", *each, axis=0), order) for each in (parts, cuts))
        return pooled, boxes

    def _aligned(self, level: Value, boxes: Value, pictures: Value, side: int, stride: int) -> Value:
        return self.graph.add(
            "RoiAlign", level, boxes, pictures, output_height=side, output_width=side, sampling_ratio=_SAMPLES,
            spatial_scale=1 / stride, mode="avg", coordinate_transformation_mode="output_half_pixel",
        )  # fmt: skip

    def _classified(self, x: Value) -> tuple[Value, Value]:
        """Add the logits `[R, 1 + K]` and offsets `[R, 4 * (1 + K)]` of pooled boxes."""
        layers, graph, name = self.layers, self.graph, "roi_heads.box_head"
        if self.spec.version == "v2":
            for number in range(4):
                x = self._block(f"{name}.{number}", x, _THREE)
            x = graph.add("Relu", layers.linear(f"{name}.5", graph.add("Flatten", x)))
        else:
            x = graph.add("Relu", layers.linear(f"{name}.fc6", graph.add("Flatten", x)))
            x = graph.add("Relu", layers.linear(f"{name}.fc7", x))
        graph.prefix, predictor = LAST, "roi_heads.box_predictor"
        return layers.linear(f"{predictor}.cls_score", x), layers.linear(f"{predictor}.bbox_pred", x)

    def _kept(self, proposals: Value, there: Value, logits: Value, offsets: Value) -> Value:
        """Add the rows `[N, D, 6]` of what is sure and not there twice."""
        spec, graph, classes = self.spec, self.graph, self.spec.num_classes
        count = self._num_proposals
        scores = logits.apply("Softmax", axis=-1).shaped(-1, count, 1 + classes).part(1, 1 + classes, axis=2)
        offsets = offsets.shaped(-1, count, 1 + classes, 4).part(1, 1 + classes, axis=2)
        boxes = self._decoded(offsets, proposals.with_axis(2), _REFINED).transposed(0, 2, 1, 3)
        scores = scores.transposed(0, 2, 1) * there.with_axis(1) * self._large(boxes, _LEAST_OBJECT)
        boxes, scores = boxes.shaped(-1, count, 4), scores.shaped(-1, count)
        kept = self._suppressed(boxes, scores, overlap=spec.overlap, least=spec.least_score, most=spec.detections)
        scores = scores * kept * scores.apply("Greater", spec.least_score, dtype="bool").cast("float32")
        boxes, scores = boxes.shaped(-1, classes * count, 4), scores.shaped(-1, classes * count)
        if (missing := spec.detections - classes * count) > 0:
            scores = graph.add("Pad", scores, graph.constant(np.array([0, 0, 0, missing])))
            boxes = graph.add("Pad", boxes, graph.constant(np.array([0, 0, 0, 0, missing, 0])))
        scores, places = graph.best(scores, spec.detections)
        real, scores = _positive(scores).with_axis(2), scores.with_axis(2)
        labels = (places // count).cast("float32").with_axis(2)
        return graph.add("Concat", boxes.at(places) * real, scores, (labels + 1.0) * real - 1.0, axis=2)

    def _with_masks(self, levels: list[Value], rows: Value) -> Value:
        """Add the masks of the objects: of those there are, and of the first row, so that there is always one."""
        graph, spec, layers, cells = self.graph, self.spec, self.layers, MASK_SIDE**2
        flat = rows.shaped(-1, 6)
        pictures = self._pictures(rows)
        count = graph.add("Squeeze", graph.add("Shape", pictures, dtype="int64"), graph.constant(np.array([0])))
        numbers = self._numbers(count)
        real = flat.part(4, 5, axis=1)
        wanted = real.shaped(-1).apply("Greater", 0.0, dtype="bool").apply("Or", numbers < 1)
        own = graph.add("NonZero", wanted, dtype="int64").shaped(-1)
        chosen, there = graph.add("Gather", flat, own), graph.add("Gather", pictures, own)
        x, boxes = self._cut(levels, chosen.part(0, 4, axis=1), there, MASK_SIDE // 2)
        graph.prefix = ""
        for number in range(spec.mask_layers):
            x = self._block(f"roi_heads.mask_head.{number}", x, _THREE)
        name = "roi_heads.mask_predictor"
        x = graph.add("ConvTranspose", x, *layers.parameters(f"{name}.conv5_mask"), strides=[2, 2])
        x = graph.add("Relu", x)
        graph.prefix = LAST
        x = layers.convolution(f"{name}.mask_fcn_logits", x, _ONE)
        graph.prefix = PREFIX
        labels = (chosen.part(5, 6, axis=1) + 1.0).cast("int64")
        masks = graph.add("GatherND", x, labels, batch_dims=1).apply("Sigmoid").shaped(-1, cells)
        masks = masks * _positive(chosen.part(4, 5, axis=1))
        nothing = real * graph.constant(np.zeros((1, cells), np.float32))
        masks = graph.add("ScatterND", nothing, own.column(), masks).shaped(-1, spec.detections, cells)
        boxes = graph.add("ScatterND", flat.part(0, 4, axis=1), own.column(), boxes)
        boxes = boxes.shaped(-1, spec.detections, 4)
        return graph.add("Concat", boxes, rows.part(4, 6, axis=2), masks, called=LOGITS, axis=2)


def _corners(values: Value) -> tuple[Value, Value]:
    """Add the first and the last two of four numbers."""
    return values.part(0, 2, axis=-1), values.part(2, 4, axis=-1)


def _positive(scores: Value) -> Value:
    return scores.apply("Greater", 0.0, dtype="bool").cast("float32")
