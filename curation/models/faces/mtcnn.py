"""Detects faces by MTCNN, a cascade of three small convolutional networks: P-Net, R-Net and O-Net.

Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016. The weights are those of the package `mtcnn`, whose code is not
imported, as it needs TensorFlow. The weight files are pickles and therefore not trusted: their sha256 is checked first,
and the reader then admits only the three globals that an array needs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from curation.models.faces.mtcnn_weights import WEIGHTS, read_weights

if TYPE_CHECKING:
    import torch


POOLS = {"pnet.lz4": (2, 0, 0), "rnet.lz4": (3, 3, 0, 0), "onet.lz4": (3, 3, 2, 0, 0)}
"""Max-pooling size (stride 2) after each layer, 0 for none: figure 2 of the paper. The weights give the other sizes."""

CELL, STRIDE = 12, 2
"""Side and stride in pixels of the windows that P-Net classifies."""
SCALE_FACTOR = 0.709
"""Ratio of the sides of successive pyramid levels: √½, so that each level has half the area of the one before."""
NMS_LEVEL, NMS_PNET, NMS_ONET = 0.5, 0.7, 0.7
"""Overlap above which the weaker of two boxes is removed: within a pyramid level, over all levels, and at the end."""
NMS_RNET = 0.9
"""The overlap after R-Net. It is looser than the usual 0.7: O-Net then judges several boxes per face and misses fewer
large faces."""
PIXELS_CPU, PIXELS_GPU = 32 * 24 * 24, 4_000_000
"""Number of pixels in one batch of a network: as many as fit a core's cache, or about 1 GB of a GPU's memory."""


class Mtcnn:
    """The MTCNN face detector.

    Args:
        min_face: side in pixels of the smallest face to find, at least 12; the cost falls with its square.
        threshold: probability, 0..1, above which P-Net, R-Net and O-Net pass a box on.
        device: device of the networks, as torch names it.

    Raises:
        UserError: the weights are missing, or their sha256 is not the expected one.
    """

    def __init__(
        self, min_face: float = 32, threshold: Sequence[float] = (0.7, 0.7, 0.95), device: str = "cpu"
    ) -> None:
        self.min_face, self.threshold, self.device = min_face, threshold, device
        self.pnet, self.rnet, self.onet = (_network(read_weights(n), POOLS[n]).to(device) for n in WEIGHTS)
        # On a CPU a batch gains nothing, and its size can change the last bits: one image at a time.
        self.together, self.pixels = (False, PIXELS_CPU) if device == "cpu" else (True, PIXELS_GPU)

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Finds the faces in a micro-batch.

        Args:
            images: uint8, (H, W, 3), channels B, G, R; sizes may differ.

        Returns:
            For each image float32 (n, 5), most probable face first: x0, y0, x1, y1 in pixels, clipped to the image (0
            and W are its outer edges), and the probability.
        """
        import torch

        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)  # CUDA only
        with torch.inference_mode(), exact:
            groups = [images] if self.together else [[image] for image in images]
            return [boxes for group in groups for boxes in self._detect(group)]

    def _detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        boxes = self._propose(images)
        boxes = self._refine(self.rnet, 24, self.threshold[1], images, boxes)
        boxes = [nms(b, NMS_RNET) for b in boxes]
        boxes = self._refine(self.onet, 48, self.threshold[2], images, boxes)
        limits = [np.array([*i.shape[1::-1], *i.shape[1::-1], 1], np.float32) for i in images]
        return [nms_min(b, NMS_ONET).clip(0, limit) for b, limit in zip(boxes, limits, strict=True)]

    def _propose(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Runs stage 1: P-Net over an image pyramid, on the same level of all images at once."""
        proposals: list[list[np.ndarray]] = [[_NONE] for _ in images]
        levels: dict[int, np.ndarray] = dict(enumerate(images))
        scale = CELL / self.min_face
        while levels := {i: n for i, n in levels.items() if min(images[i].shape[:2]) * scale >= CELL}:
            for i, level in levels.items():  # each from the one before: a third of the time of starting afresh
                height, width = (max(CELL, round(n * scale)) for n in images[i].shape[:2])
                levels[i] = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)
            outputs = self._run(self.pnet, on_canvas(list(levels.values())))
            for (i, level), regression, probability in zip(levels.items(), *outputs, strict=True):
                rows, columns = (-(-(n - CELL) // STRIDE) + 1 for n in level.shape[:2])  # beyond is the canvas
                p = probability[:rows, :columns]
                row, column = np.nonzero(p > self.threshold[0])
                corner = np.stack([column, row], 1) * STRIDE
                cell = np.concatenate([corner, corner + CELL], 1)
                height, width = np.array(images[i].shape[:2]) / level.shape[:2]
                moved = (cell + regression[:, row, column].T * CELL) * np.array([width, height] * 2, np.float32)
                proposals[i].append(_boxes(moved, p[row, column], self.threshold[0]))
            scale *= SCALE_FACTOR
        of_level = [np.repeat(np.arange(len(f)), [len(b) for b in f]) for f in proposals]
        merged = [nms(np.concatenate(f), NMS_LEVEL, level) for f, level in zip(proposals, of_level, strict=True)]
        return [nms(b, NMS_PNET) for b in merged]

    def _refine(
        self,
        net: "torch.nn.Module",
        side: int,
        threshold: float,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Runs stage 2 or 3: the network moves and scores squares around the boxes, for all images together."""
        squares = [_square(b) for b in boxes]
        crops = [crop(i, s, side) for i, of_i in zip(images, squares, strict=True) for s in of_i]
        if not crops:
            return [_NONE] * len(images)
        regression, probability = self._run(net, np.stack(crops))
        ends = np.cumsum([len(s) for s in squares])[:-1]
        parts = zip(squares, np.split(regression[:, :, 0, 0], ends), np.split(probability[:, 0, 0], ends), strict=True)
        return [_boxes(s + r * (s[:, 2:3] - s[:, :1]), p, threshold) for s, r, p in parts]

    def _run(self, net: "torch.nn.Module", pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns box regression (n, 4, h, w) and face probability (n, h, w) for pixels uint8 (n, H, W, 3)."""
        import torch

        step = max(1, self.pixels // (pixels.shape[1] * pixels.shape[2]))
        # a view of (n, H, W, 3) as (n, 3, H, W) is what torch calls channels_last: three times as fast here
        parts = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(step)
        out = torch.cat([net(part.to(self.device).float()) for part in parts])
        # the four numbers of the box come first, the two of the class last; O-Net has landmarks between
        return out[:, :4].cpu().numpy(), torch.softmax(out[:, -2:], 1)[:, 1].cpu().numpy()


def _network(weights: list[np.ndarray], pools: Sequence[int]) -> "torch.nn.Sequential":
    """Builds a network from kernel, bias and PReLU slope of each layer, then kernel and bias of each output.

    All layers are convolutions: a dense layer is one whose kernel is as large as its input.
    """
    import torch

    class Halve(torch.nn.Module):
        """Max-pooling of 2 by 2 pixels of a map with even sides; torch's own pooling takes six times as long here."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
            return torch.maximum(rows[..., ::2], rows[..., 1::2])

    def add(layer: torch.nn.Module, *values: torch.Tensor) -> None:
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.data.copy_(value)
        layers.append(layer)

    arrays = [torch.tensor(w) for w in weights]
    layers: list[torch.nn.Module] = []
    channels = 3
    for i, pool in enumerate(pools):
        kernel, bias, slope = arrays[3 * i : 3 * i + 3]
        kernel = _kernel(kernel, channels)
        if i == 0:  # pixels come as B, G, R of 0..255; the net wants R, G, B as (x - 127.5) / 128
            bias = bias - kernel.sum((1, 2, 3)) * 127.5 / 128
            kernel = kernel.flip(1) / 128
        channels = len(bias)
        add(torch.nn.Conv2d(kernel.shape[1], channels, tuple(kernel.shape[2:])), kernel, bias)
        add(torch.nn.PReLU(channels), slope.flatten())
        if pool:
            layers.append(torch.nn.MaxPool2d(pool, 2, ceil_mode=True) if pool > 2 else Halve())
    outputs = arrays[3 * len(pools) :]
    kernel = torch.cat([_kernel(k, channels) for k in outputs[::2]])  # all outputs by one convolution
    add(torch.nn.Conv2d(channels, len(kernel), 1), kernel, torch.cat(outputs[1::2]))
    return torch.nn.Sequential(*layers).requires_grad_(False).to(memory_format=torch.channels_last)


def _kernel(weights: "torch.Tensor", channels: int) -> "torch.Tensor":
    """Converts a kernel (H, W, in, out), or a dense matrix (W·H·in, out) over columns of pixels, to (out, in, H, W)."""
    if weights.ndim == 4:
        return weights.permute(3, 2, 0, 1)
    side = round((weights.shape[0] / channels) ** 0.5)
    return weights.reshape(side, side, channels, -1).permute(3, 2, 1, 0)


_NONE = np.zeros((0, 5), np.float32)


def _boxes(corners: np.ndarray, probability: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the probable boxes, float32 (n, 5), without those that are inverted or less than a pixel wide or high.

    Args:
        corners: (n, 4): x0, y0, x1, y1 in pixels.
        probability: (n,).
        threshold: probability above which a box is kept.
    """
    boxes = np.concatenate([corners, probability[:, None]], 1).astype(np.float32)
    return boxes[(probability > threshold) & (boxes[:, 2:4] - boxes[:, :2] >= 1).all(1)]


def on_canvas(images: Sequence[np.ndarray]) -> np.ndarray:
    """Pads images to one size, uint8 (n, H, W, 3), with mid-gray (the networks' zero) on the right and below.

    H and W are even, so that each of P-Net's pooling windows lies either within or outside an image, whatever else is
    on the canvas.
    """
    height, width = (-(-max(i.shape[axis] for i in images) // STRIDE) * STRIDE for axis in (0, 1))
    canvas = np.full((len(images), height, width, 3), 128, np.uint8)
    for on, image in zip(canvas, images, strict=True):
        on[: image.shape[0], : image.shape[1]] = image
    return canvas


def _square(boxes: np.ndarray) -> np.ndarray:
    """Returns the corners (n, 4) of squares with the boxes' centres and the length of their longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(1, keepdims=True, initial=0) / 2
    return np.concatenate([centre - half, centre + half], 1)


def crop(image: np.ndarray, square: np.ndarray, side: int) -> np.ndarray:
    """Cuts a square out of an image, scaled (bilinear), with mid-gray (the networks' zero) outside the image.

    Args:
        image: uint8 (H, W, 3).
        square: x0, y0, x1, y1 in pixels.
        side: side of the result in pixels.

    Returns:
        uint8 (side, side, 3).
    """
    x, y = square[:2].tolist()
    step = float(square[2] - square[0]) / side
    to_image = np.array([[step, 0, x + step / 2 - 0.5], [0, step, y + step / 2 - 0.5]])  # centres of pixels
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, to_image, (side, side), None, flags, cv2.BORDER_CONSTANT, (128, 128, 128))


def nms(boxes: np.ndarray, overlap: float, level: np.ndarray | None = None) -> np.ndarray:
    """Removes boxes by non-maximum suppression (intersection over union) within each level.

    Args:
        boxes: float32 (n, 5): x0, y0, x1, y1 in pixels, probability.
        overlap: overlap of two boxes, 0..1, above which the less probable one is removed.
        level: (n,), the level of each box; None if all boxes are of one level.

    Returns:
        The boxes that are kept, (m, 5), the most probable first.
    """
    if not len(boxes):
        return boxes
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]], 1)
    level = np.zeros(len(boxes), np.int32) if level is None else level
    kept = cv2.dnn.NMSBoxesBatched(sized.tolist(), boxes[:, 4].tolist(), level.tolist(), 0.0, overlap)
    return boxes[np.asarray(kept)]


def nms_min(boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Removes boxes as `nms` does, but by intersection over the smaller box, so that no face stays inside another."""
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        shared = (np.minimum(best[2:4], left[:, 2:4]) - np.maximum(best[:2], left[:, :2])).clip(0).prod(1)
        smaller = np.minimum((best[2:4] - best[:2]).prod(), (left[:, 2:4] - left[:, :2]).prod(1))
        left = left[shared <= overlap * smaller]
    return np.stack(kept) if kept else _NONE
