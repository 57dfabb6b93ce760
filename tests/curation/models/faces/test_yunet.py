"""OpenCV's own reader of YuNet runs, on a net that finds coloured squares and has YuNet's inputs and outputs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from curation.errors import UserError
from curation.models.faces.yunet import NUMBERS, STRIDES, YuNet, check

KEY = "signals.faces.model"


# --- ONNX files, written field by field: the package onnx is no dependency -------------------------------------------


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer: a number, or a text or message with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    value %= 1 << 64
    head = b""
    while value > 127:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def node(operator: str, inputs: list[str], output: str, **attributes: list[int] | int) -> bytes:
    """A NodeProto; attributes are whole numbers or lists of them."""
    packed = b"".join(field(1, name) for name in inputs) + field(2, output) + field(3, output) + field(4, operator)
    for name, value in attributes.items():
        kind, values = (7, b"".join(field(8, v) for v in value)) if isinstance(value, list) else (2, field(3, value))
        packed += field(5, field(1, name) + values + field(20, kind))
    return packed


def tensor(name: str, values: np.ndarray) -> bytes:
    """A TensorProto of float32 or int64."""
    kind = {"f": 1, "i": 7}[values.dtype.kind]
    return b"".join(field(1, n) for n in values.shape) + field(2, kind) + field(8, name) + field(9, values.tobytes())


def value_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    """A ValueInfoProto of float32; a name in place of a number is a free dimension."""
    dimensions = b"".join(field(1, field(1 if isinstance(n, int) else 2, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


def write_yunet(
    path: Path,
    side: int | str = "side",
    entrance: str = "input",
    boxes: Mapping[int, tuple[float, ...]] | None = None,
    grid: int = 8,
    operator: str = "Transpose",
    names: Mapping[str, str] | None = None,
) -> Path:
    """A net that finds squares of one cell that stand alone: blue ones of 8 pixels, green of 16 and red of 32.

    Args:
        side: of the picture that the file says it wants; the released model says 640, and OpenCV minds it not.
        entrance: name of its input.
        boxes: by stride the four numbers it says of every cell; the default makes a box of the cell itself.
        grid: side in pixels of the cells of which the outputs for stride 8 tell.
        operator: what stands where the outputs are transposed.
        names: of the outputs, where they are not YuNet's.
    """
    nodes, constants, outputs = [], {}, []
    alone = np.full((3, 1, 3, 3), -1 / 255, np.float32)  # 0..1 for a square on black, below 0 beside and within others
    alone[:, :, 1, 1] = 1 / 255
    constants |= {"alone": alone, "none": np.zeros(3, np.float32)}
    for channel, stride in enumerate(STRIDES):
        cell = grid if stride == 8 else stride
        nodes += [
            node("AveragePool", [entrance], f"mean_{stride}", kernel_shape=[cell] * 2, strides=[cell] * 2),
            node("Conv", [f"mean_{stride}", "alone", "none"], f"alone_{stride}", kernel_shape=[3, 3], pads=[1] * 4,
                 group=3),
        ]  # fmt: skip
        box = (boxes or {}).get(stride, (0.5, 0.5, 0.0, 0.0))
        for kind, count in (NUMBERS | {"bbox": len(box)}).items():
            name = f"{kind}_{stride}"
            weights, bias = np.zeros((count, 3, 1, 1), np.float32), np.zeros(count, np.float32)
            if kind == "bbox":
                bias[:] = box
            elif kind != "kps":
                weights[:, channel] = 1
            constants |= {f"{name}_w": weights, f"{name}_b": bias, f"{name}_shape": np.array([1, -1, count])}
            out = (names or {}).get(name, name)
            nodes += [
                node("Conv", [f"alone_{stride}", f"{name}_w", f"{name}_b"], f"{name}_map", kernel_shape=[1, 1]),
                node(operator, [f"{name}_map"], f"{name}_last", perm=[0, 2, 3, 1]),
                node("Reshape", [f"{name}_last", f"{name}_shape"], out),
            ]
            outputs.append(value_info(out, (1, "cells", count)))
    graph = b"".join(field(1, n) for n in nodes) + field(2, "squares")
    graph += b"".join(field(5, tensor(name, values)) for name, values in constants.items())
    graph += field(11, value_info(entrance, (1, 3, side, side))) + b"".join(field(12, out) for out in outputs)
    path.write_bytes(field(1, 6) + field(8, field(2, 11)) + field(7, graph))
    return path


def picture(
    *squares: tuple[int, int, int], size: tuple[int, int] = (320, 240), level: int = 255, scale: int = 1
) -> np.ndarray:
    """Black with squares: their stride, and column and row of the cell that each fills."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for stride, column, row in squares:
        side = stride * scale
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side, STRIDES.index(stride)] = level
    return pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yunet(tmp_path_factory.mktemp("models") / "squares.onnx")


class TestCheck:
    @pytest.mark.parametrize(("side", "entrance"), [("side", "input"), (640, "input"), (320, "image")])
    def test_a_good_one(self, tmp_path: Path, side: int | str, entrance: str) -> None:
        """And what passes runs, at any size."""
        path = write_yunet(tmp_path / "m.onnx", side, entrance)
        check(KEY, path)
        boxes = YuNet(path).detect([picture((32, 2, 2), size=size) for size in ((320, 240), (640, 100), (99, 640))])
        assert [len(b) for b in boxes] == [1, 1, 1]

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (b"<!DOCTYPE html>\n<html><title>yunet.onnx at main</title></html>", "is no ONNX model but a web page"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:8f2383e4\nsize 232589\n",
                "is no ONNX model but a pointer of Git LFS to one",
            ),
            (b"", "is empty"),
            (b"\x00" * 1000, "is no ONNX model that OpenCV can read"),
            (bytes(range(256)) * 16, "is no ONNX model that OpenCV can read"),
        ],
        ids=["page", "pointer", "empty", "zeros", "bytes"],
    )
    def test_no_onnx(self, tmp_path: Path, capfd: pytest.CaptureFixture[str], data: bytes, what: str) -> None:
        (tmp_path / "m.onnx").write_bytes(data)
        said = refused(tmp_path / "m.onnx", capfd)
        assert said.startswith(f"{KEY}: {tmp_path}/m.onnx {what}") and said.endswith("; expected YuNet's ONNX file")
        assert said.isprintable() and "\\x" not in said

    def test_half_a_file(self, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "m.onnx").write_bytes(model.read_bytes()[:3000])
        assert "no ONNX model that OpenCV can read" in refused(tmp_path / "m.onnx", capfd)

    def test_a_folder(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        assert "is a folder" in refused(tmp_path, capfd)

    def test_an_operator_that_opencv_lacks(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        assert "m.onnx" in refused(write_yunet(tmp_path / "m.onnx", operator="Fancy"), capfd)

    def test_outputs_of_another_name(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        said = refused(write_yunet(tmp_path / "m.onnx", names={"kps_32": "landmarks"}), capfd)
        found, _, expected = said.partition("expected")
        assert "landmarks" in found and "kps_32" not in found and "kps_32" in expected

    def test_boxes_of_five_numbers(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        said = refused(write_yunet(tmp_path / "m.onnx", boxes={16: (0.5, 0.5, 0, 0, 0)}), capfd)
        assert "bbox_16 has the shape (1, 96, 5)" in said and "expected (1, 96, 4)" in said

    def test_too_few_cells(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """OpenCV would read the memory behind them."""
        said = refused(write_yunet(tmp_path / "m.onnx", grid=16), capfd)
        assert "cls_8 has the shape (1, 96, 1)" in said and "expected (1, 384, 1)" in said

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_no_number(self, tmp_path: Path, capfd: pytest.CaptureFixture[str], value: float) -> None:
        assert "bbox_8 holds NaN" in refused(write_yunet(tmp_path / "m.onnx", boxes={8: (value,) * 4}), capfd)


def refused(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What `check` says of a file; one line, and nothing beside it."""
    with pytest.raises(UserError) as caught:
        check(KEY, path)
    assert capfd.readouterr() == ("", "") and "\n" not in str(caught.value)
    return str(caught.value)


class TestDetect:
    @pytest.mark.parametrize("stride", STRIDES)
    @pytest.mark.parametrize(("column", "row"), [(0, 0), (3, 2), (8, 5)])
    def test_a_face_is_found_where_it_is(self, model: Path, stride: int, column: int, row: int) -> None:
        (boxes,) = YuNet(model, min_face=8).detect([picture((stride, column, row))])
        assert boxes.dtype == np.float32
        cell = np.array([column, row, column + 1, row + 1]) * stride
        assert np.allclose(boxes, [[*cell, 1]], atol=1e-3)

    def test_several_the_likeliest_first(self, model: Path) -> None:
        dim, bright = picture((16, 2, 3), level=225), picture((32, 5, 4), (8, 4, 25), level=250)
        (boxes,) = YuNet(model, min_face=8).detect([dim + bright])
        assert np.allclose(boxes[:, 4], [250 / 255, 250 / 255, 225 / 255], atol=1e-4)
        assert sorted((boxes[:, 2] - boxes[:, 0]).round().tolist()) == [8, 16, 32]

    def test_threshold(self, model: Path) -> None:
        pixels = picture((32, 3, 3), level=200)
        assert [len(YuNet(model, threshold=t).detect([pixels])[0]) for t in (0.75, 0.8)] == [1, 0]

    def test_min_face(self, model: Path) -> None:
        pixels = picture((8, 4, 25), (16, 2, 3), (32, 5, 4))
        assert [len(YuNet(model, min_face=m).detect([pixels])[0]) for m in (8, 9, 17, 33)] == [3, 2, 1, 0]

    def test_the_weaker_of_two_that_overlap_goes(self, tmp_path: Path) -> None:
        """Boxes five cells wide about two cells with one between: 3 of 7 cells are in both."""
        wide = write_yunet(tmp_path / "m.onnx", boxes={16: (0.5, 0.5, float(np.log(5)), float(np.log(5)))})
        pixels = picture((16, 4, 4)) + picture((16, 6, 4), level=240)
        assert [len(YuNet(wide, nms=nms).detect([pixels])[0]) for nms in (0.45, 0.4)] == [2, 1]
        assert np.allclose(YuNet(wide).detect([pixels])[0], [[32, 32, 112, 112, 1]], atol=1e-3)

    def test_two_looks_at_one_face(self, tmp_path: Path) -> None:
        """A box of 64 pixels at full size, another by half of them that shares 0.62 with it."""
        four = write_yunet(tmp_path / "m.onnx", boxes={16: (0.5, 0.5, float(np.log(4)), float(np.log(4)))})
        size = (640, 480)
        pixels = picture((32, 1, 1), size=size, scale=2, level=240) + picture((16, 6, 6), size=size)
        assert [len(YuNet(four, nms=nms).detect([pixels])[0]) for nms in (0.65, 0.6)] == [2, 1]
        assert np.allclose(YuNet(four).detect([pixels])[0], [[72, 72, 136, 136, 1]], atol=0.1)

    @pytest.mark.parametrize("scale", [2, 4])
    def test_a_face_too_large_for_the_net(self, model: Path, scale: int) -> None:
        """Found on a copy of half or a quarter the size; the box is that of the picture."""
        size = (320 * scale, 240 * scale)
        (boxes,) = YuNet(model).detect([picture((32, 3, 2), size=size, scale=scale)])
        assert np.allclose(boxes, [[96 * scale, 64 * scale, 128 * scale, 96 * scale, 1]], atol=0.1)
        (boxes,) = YuNet(model).detect([picture((32, 3, 2), (16, 1, 1), size=size, scale=scale)])
        assert len(boxes) == (2 if 16 * scale >= 20 else 1)

    def test_boxes_end_at_the_edge(self, model: Path) -> None:
        pixels = picture((32, 2, 2), size=(84, 88))
        (boxes,) = YuNet(model, threshold=0.4).detect([pixels])
        assert np.allclose(boxes[:, :4], [[64, 64, 84, 88]], atol=1e-3)

    def test_small_and_narrow(self, model: Path) -> None:
        """As if alone, whatever picture came before: OpenCV must not be given a grid that is one cell wide or high."""
        bright = picture(*((32, c, r) for c in range(0, 10, 2) for r in range(0, 7, 2)))
        blue = [picture((8, 1, 1), size=size) for size in ((24, 24), (32, 32), (160, 30), (30, 160))]
        red = [picture((32, 0, 0), size=size) for size in ((32, 32), (160, 32), (32, 160))]
        column = picture((32, 0, 0), (32, 0, 2), (32, 0, 4), size=(32, 160))
        detector = YuNet(model, min_face=8)
        for image in (*blue, *red):
            (alone,) = YuNet(model, min_face=8).detect([image])
            assert len(alone) == 1
            for boxes in detector.detect([bright, image, picture(size=(640, 480)), image, bright, image])[1::2]:
                assert np.array_equal(boxes, alone)
        assert [len(boxes) for boxes in detector.detect([bright, column, bright, column])] == [20, 3, 20, 3]
        assert [b.shape for b in detector.detect([image[:1, :1], image[:, :1], image[:1]])] == [(0, 5)] * 3

    def test_a_micro_batch_is_as_its_images(self, model: Path) -> None:
        images = [picture((32, c, 2), size=(200 + 40 * c, 150), level=220 + 5 * c) for c in range(5)]
        detector = YuNet(model)
        alone = [YuNet(model).detect([image])[0].tobytes() for image in images]
        for order in (range(5), [4, 2, 0, 3, 1], [0] * 3):
            assert [b.tobytes() for b in detector.detect([images[i] for i in order])] == [alone[i] for i in order]

    def test_nothing(self, model: Path) -> None:
        assert YuNet(model).detect([]) == []
        assert [b.shape for b in YuNet(model).detect([picture(), np.full((480, 640, 3), 255, np.uint8)])] == [
            (0, 5)
        ] * 2
