"""The weights are read only if they are the right ones; the nets and the boxes are what the paper says."""

import io
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from curation.errors import UserError
from curation.images import decode, fit
from curation.models.faces import mtcnn, mtcnn_weights
from curation.models.faces.mtcnn import Mtcnn
from curation.models.faces.mtcnn_weights import WEIGHTS, check_weights, installed_path, read_weights, unpickle

TEAM, ASTRONAUT, PAIR, DOGS = "000000007", "000000000", "000010003", "000000013"
"""Pictures of the sample with four faces, one, two and none."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights, which is what is read."""
    for name in WEIGHTS:
        shutil.copy(installed_path(name), tmp_path / name)
    monkeypatch.setattr(mtcnn_weights, "installed_path", lambda name: tmp_path / name)
    return tmp_path


def people(sample_photos: dict[str, bytes]) -> list[np.ndarray]:
    return [fit(decode(sample_photos[key], 640), 640) for key in (TEAM, ASTRONAUT, PAIR, DOGS)]


class TestWeights:
    @pytest.mark.parametrize("name", WEIGHTS)
    def test_a_flipped_bit_is_refused(self, copied: Path, name: str) -> None:
        data = bytearray((copied / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copied / name).write_bytes(data)
        for read in (lambda: read_weights(name), check_weights, Mtcnn):
            with pytest.raises(UserError) as caught:
                read()
            message = str(caught.value)
            assert str(copied / name) in message and WEIGHTS[name] in message and "\n" not in message

    def test_the_check_comes_first(self, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (copied / "pnet.lz4").write_bytes(b"other")
        monkeypatch.setattr(mtcnn_weights, "unpickle", lambda *_: pytest.fail("unpickled"))
        with pytest.raises(UserError, match="sha256"):
            read_weights("pnet.lz4")

    @pytest.mark.parametrize("payload", [eval, io.BytesIO(), np.float32(1), [np.zeros(2)]])
    def test_another_global_is_refused(self, payload: object) -> None:
        with pytest.raises(UserError, match=r"^w.lz4: asks for \S+; expected only") as caught:
            unpickle(pickle.dumps(payload), Path("w.lz4"))
        assert "\n" not in str(caught.value)

    def test_a_global_that_runs_code_is_not_run(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> object:
                return Path.touch, (tmp_path / "run",)

        with pytest.raises(UserError, match="asks for"):
            unpickle(pickle.dumps([Evil()]), Path("w.lz4"))
        assert not (tmp_path / "run").exists()

    def test_arrays_are_those_of_joblib(self) -> None:
        joblib = pytest.importorskip("joblib")
        for name in WEIGHTS:
            ours, theirs = read_weights(name), joblib.load(installed_path(name))
            assert len(ours) == len(theirs)
            assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))

    def test_an_array_of_objects_is_refused(self) -> None:
        joblib = pytest.importorskip("joblib")
        buffer = io.BytesIO()
        joblib.dump([np.array([print], object)], buffer)
        with pytest.raises(UserError, match="objects"):
            unpickle(buffer.getvalue(), Path("w.lz4"))

    def test_without_the_package_one_line_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mtcnn_weights.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UserError, match="mtcnn") as caught:
            check_weights()
        assert "\n" not in str(caught.value)

    def test_files_are_plain_lz4(self) -> None:
        assert len(lz4.frame.decompress(installed_path("pnet.lz4").read_bytes())) > 20_000


class TestNets:
    """Each net against the layers of the paper's figure 2 written out one by one, on normalised R, G, B."""

    @pytest.mark.parametrize(("net", "side", "valid"), [("pnet", 32, None), ("rnet", 24, 1), ("onet", 48, 1)])
    def test_as_written_out(self, detector: Mtcnn, net: str, side: int, valid: int | None) -> None:
        name = f"{net}.lz4"
        pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
        x = (torch.from_numpy(pixels[..., ::-1].copy()).permute(0, 3, 1, 2).double() - 127.5) / 128
        weights = [torch.tensor(w).double() for w in read_weights(name)]
        for i, pool in enumerate(mtcnn.POOLS[name]):
            kernel, bias, slope = weights[3 * i : 3 * i + 3]
            if kernel.ndim == 2:  # the authors' pictures were column-major
                x = F.linear(x.permute(0, 3, 2, 1).flatten(1), kernel.T, bias)
            else:
                x = F.conv2d(x, kernel.permute(3, 2, 0, 1), bias)
            x = F.prelu(x, slope.flatten())
            if pool:  # TensorFlow's "valid" in the second layer of R- and O-Net, "same" elsewhere
                x = F.max_pool2d(x, pool, 2, ceil_mode=i != valid)
        outputs = weights[3 * len(mtcnn.POOLS[name]) :]
        dense = outputs[0].ndim == 2
        box, face = (
            F.linear(x, w.T, b) if dense else F.conv2d(x, w.permute(3, 2, 0, 1), b)
            for w, b in (outputs[:2], outputs[-2:])
        )
        with torch.inference_mode():
            regression, probability = detector._run(getattr(detector, net), pixels)
        assert np.allclose(regression.reshape(box.shape), box.numpy(), atol=1e-4)
        expected = torch.softmax(face, 1)[:, 1]
        assert np.allclose(probability.reshape(expected.shape), expected.numpy(), atol=1e-4)


class TestDetect:
    def test_counts_and_boxes(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        images = people(sample_photos)
        found = detector.detect(images)
        assert [len(boxes) for boxes in found] == [4, 1, 2, 0]
        for boxes, image in zip(found, images, strict=True):
            height, width = image.shape[:2]
            assert boxes.dtype == np.float32 and boxes.shape[1] == 5
            assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:4] <= [width, height]).all()
            assert (boxes[:, 2:4] - boxes[:, :2] > 16).all()
            assert ((boxes[:, 4] > 0.95) & (boxes[:, 4] <= 1)).all() and (np.diff(boxes[:, 4]) <= 0).all()

    def test_a_face_is_found_where_it_is_put(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        face = fit(decode(sample_photos[ASTRONAUT], 640), 320)
        ((x0, y0, x1, y1, _),) = detector.detect([face])[0]
        canvas = np.full((600, 640, 3), 90, np.uint8)
        canvas[200 : 200 + face.shape[0], 240 : 240 + face.shape[1]] = face
        (box,) = detector.detect([canvas])[0]
        side = max(x1 - x0, y1 - y0)
        assert np.abs(box[:4] - [x0 + 240, y0 + 200, x1 + 240, y1 + 200]).max() < 0.1 * side

    def test_a_face_that_leaves_the_picture(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        whole = people(sample_photos)[1]
        x0, y0, x1, y1 = detector.detect([whole])[0][0, :4]
        cut = whole[round(float(y0 + 0.15 * (y1 - y0))) :]
        (box,) = detector.detect([cut])[0]
        assert box[1] < 5 and abs(box[0] - x0) < 0.2 * (x1 - x0)

    def test_smaller_than_min_face_is_left_out(self, sample_photos: dict[str, bytes]) -> None:
        image = people(sample_photos)[1]
        x0, y0, x1, y1 = Mtcnn().detect([image])[0][0, :4]
        side = int(max(x1 - x0, y1 - y0))
        assert len(Mtcnn(min_face=2 * side).detect([image])[0]) == 0

    def test_batch_is_as_single(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        images = [*people(sample_photos), np.zeros((3, 3, 3), np.uint8)]
        alone = [detector.detect([image])[0] for image in images]
        for order in (range(5), [4, 2, 0, 3, 1], [0] * 3):
            for i, boxes in zip(order, detector.detect([images[i] for i in order]), strict=True):
                assert np.array_equal(boxes, alone[i])

    @pytest.mark.parametrize("pixels", [mtcnn.PIXELS_GPU, mtcnn.PIXELS_CPU, 20_000, 1])
    def test_batch_as_on_a_gpu_is_as_single(
        self, detector: Mtcnn, sample_photos: dict[str, bytes], pixels: int
    ) -> None:
        """All images through the nets together, whatever their sizes, which a CPU does not do."""
        team, astronaut, pair, dogs = people(sample_photos)
        odd = [fit(team, 333), np.ascontiguousarray(pair[:, :201]), astronaut[:517, :431].copy()]
        images = [dogs, team, *odd, team[:, ::-1].copy(), np.zeros((3, 3, 3), np.uint8), astronaut, pair, team]
        assert len({i.shape for i in images}) >= 7
        batched = Mtcnn()
        batched.together, batched.pixels = True, pixels
        alone = [detector.detect([image])[0] for image in images]
        assert [len(boxes) for boxes in alone] == [0, 4, 4, 1, 1, 4, 0, 1, 2, 4]
        for image, boxes, single in zip(images, batched.detect(images), alone, strict=True):
            of = np.array([*image.shape[1::-1], *image.shape[1::-1], 1])
            assert boxes.shape == single.shape and np.abs(boxes / of - single / of).max(initial=0) <= 1e-5

    def test_pnet_sees_no_canvas(self, detector: Mtcnn) -> None:
        """Every cell of an image on a larger canvas is as if the image were alone on its own."""
        rng = np.random.default_rng(0)
        sizes = [(12, 12), (13, 12), (40, 31), (31, 40), (57, 90), (64, 64)]
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        with torch.inference_mode():
            together = detector._run(detector.pnet, mtcnn.on_canvas(images))
            for i, image in enumerate(images):
                rows, columns = (-(-(n - mtcnn.CELL) // mtcnn.STRIDE) + 1 for n in image.shape[:2])
                alone = detector._run(detector.pnet, mtcnn.on_canvas([image]))
                for whole, part in zip(together, alone, strict=True):
                    assert part.shape[-2:] == (rows, columns)
                    assert np.allclose(whole[i][..., :rows, :columns], part[0], atol=1e-5)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_gpu_is_as_cpu(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        images = people(sample_photos)
        for a, b in zip(Mtcnn(device="cuda").detect(images), detector.detect(images), strict=True):
            assert a.shape == b.shape and np.allclose(a, b, atol=2e-2)

    @pytest.mark.parametrize(
        ("height", "width"),
        [
            (1, 1),
            (20, 20),
            (1, 4000),
            (4000, 1),
            (31, 640),
            (32, 32),
            (33, 47),
            (640, 33),
        ],
    )
    def test_small_and_narrow(self, detector: Mtcnn, height: int, width: int) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = detector.detect([noise, np.full_like(noise, 255)])
        assert [boxes.shape for boxes in found] == [(0, 5)] * 2

    @pytest.mark.parametrize("grain", [1, 8, 64])
    def test_gray_and_noise_hold_no_face(self, detector: Mtcnn, grain: int) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (640 // grain, 640 // grain, 3), dtype=np.uint8)
        noise = noise.repeat(grain, 0).repeat(grain, 1)
        ramp = np.broadcast_to(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (480, 640, 3))
        plain = np.full((480, 640, 3), 128, np.uint8)
        assert [len(boxes) for boxes in detector.detect([noise, ramp, plain])] == [0, 0, 0]

    def test_a_gray_photo_has_its_face(self, detector: Mtcnn, sample_photos: dict[str, bytes]) -> None:
        gray = people(sample_photos)[1].mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
        assert len(detector.detect([gray])[0]) == 1

    def test_no_images(self, detector: Mtcnn) -> None:
        assert detector.detect([]) == []


class TestNms:
    boxes = np.array([[0, 0, 10, 10, 0.8], [1, 0, 11, 10, 0.9], [2, 2, 6, 6, 0.99], [50, 50, 60, 60, 0.5]], np.float32)

    def test_union(self) -> None:
        """Boxes 0 and 1 share 90 of 110; the small one is 16 of about 100, which union lets stand."""
        assert mtcnn.nms(self.boxes, 0.7)[:, 4].tolist() == pytest.approx([0.99, 0.9, 0.5])
        assert mtcnn.nms(self.boxes, 0.9)[:, 4].tolist() == pytest.approx([0.99, 0.9, 0.8, 0.5])

    def test_levels_do_not_meet(self) -> None:
        assert len(mtcnn.nms(self.boxes, 0.5, np.array([0, 1, 0, 0]))) == 4

    def test_min(self) -> None:
        assert mtcnn.nms_min(self.boxes, 0.7)[:, 4].tolist() == pytest.approx([0.99, 0.5])

    def test_empty(self) -> None:
        assert mtcnn.nms(self.boxes[:0], 0.5).shape == mtcnn.nms_min(self.boxes[:0], 0.5).shape == (0, 5)

    def test_boxes_turned_inside_out_go_without_moving_the_others(
        self, detector: Mtcnn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three images; the middle one's first box collapses."""
        given = [[[0, 0, 20, 20, 1]], [[5, 5, 15, 15, 1], [0, 0, 30, 30, 1]], [[10, 10, 20, 20, 1]]]
        boxes = [np.array(b, np.float32) for b in given]
        regression = np.zeros((4, 4, 1, 1), np.float32)
        regression[1, 0] = 2
        probability = np.array([0.9, 0.9, 0.8, 0.7], np.float32).reshape(4, 1, 1)
        monkeypatch.setattr(detector, "_run", lambda net, pixels: (regression, probability))
        images = [np.zeros((40, 40, 3), np.uint8)] * 3
        refined = detector._refine(detector.rnet, 24, 0.5, images, boxes)
        assert [r[:, 4].tolist() for r in refined] == [pytest.approx([p]) for p in (0.9, 0.8, 0.7)]
        assert np.array_equal(refined[1][0, :4], [0, 0, 30, 30])


def test_imports_neither_torch_nor_tensorflow_nor_the_package() -> None:
    code = (
        "import sys, curation.models.faces.mtcnn, curation.models.faces.mtcnn_weights as m; m.check_weights(); m.read_weights('pnet.lz4'); "
        "sys.exit(len({'torch', 'tensorflow', 'mtcnn', 'joblib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
