"""Workers that train together: of every source each reads its own records, and all of them read every record once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net, ranks
from caffe_lite.data.databases.writing import new_database
from caffe_lite.errors import WorkerError
from caffe_lite.proto.caffe_pb2 import AnnotatedDatum
from tests.data.annotated_files import annotated, records
from tests.data.database_files import datum, write_lmdb
from tests.data.hdf5_files import hdf5_list, write_hdf5
from tests.data.image_files import image_list, pair_list
from tests.data.object_files import object_file
from tests.data.window_files import window_file

cv2 = pytest.importorskip("cv2")

STEP = 10  # between the grays of two images, enough for a video's lossy frames
SIDE = 32


def grays(count: int) -> list[np.ndarray]:
    """Make images of one gray each, which tells the number of the image."""
    return [np.full((3, SIDE, SIDE), STEP * (1 + number), np.uint8) for number in range(count)]


def numbers(net: Net) -> list[int]:
    """Return the numbers of the images in the next batch."""
    net.forward()
    data = np.copy(net.blobs["data"].data)
    return [round(float(image.max()) / STEP) - 1 for image in data]


def lmdb(folder: Path, count: int) -> str:
    path = write_lmdb(folder / "lmdb", ((b"%08d" % i, datum(image, i)) for i, image in enumerate(grays(count))))
    return f'type: "Data" data_param {{ source: "{path.as_posix()}" backend: LMDB batch_size: 2 OPTIONS }}'


def leveldb(folder: Path, count: int) -> str:
    path = folder / "leveldb"
    with new_database(str(path), "leveldb") as put:
        for i, image in enumerate(grays(count)):
            put(b"%08d" % i, datum(image, i))
    return f'type: "Data" data_param {{ source: "{path.as_posix()}" backend: LEVELDB batch_size: 2 OPTIONS }}'


def annotated_data(folder: Path, count: int) -> str:
    path = write_lmdb(folder / "lmdb", records(annotated(image, [(1, 0, 0, 0, 1, 1, 0)]) for image in grays(count)))
    return f'type: "AnnotatedData" data_param {{ source: "{path.as_posix()}" backend: LMDB batch_size: 2 OPTIONS }}'


def sampled(folder: Path, count: int) -> str:
    """Patches of the images: how many numbers are drawn depends on how soon one is found."""
    samplers = "batch_sampler { sampler { min_scale: 0.3 } sample_constraint { min_jaccard_overlap: 0.5 } }"
    resize = "resize_param { height: 8 width: 8 }"
    return f"{annotated_data(folder, count)} annotated_data_param {{ {samplers} }} transform_param {{ {resize} }}"


def lane_data(folder: Path, count: int) -> str:
    roads = [annotated(image, []) for image in grays(count)]
    for road in roads:
        road.type = AnnotatedDatum.LANE
    path = write_lmdb(folder / "lmdb", records(roads))
    return f'type: "LaneData" data_param {{ source: "{path.as_posix()}" backend: LMDB batch_size: 2 OPTIONS }}'


def image_data(folder: Path, count: int) -> str:
    source = image_list(folder / "images", grays(count))
    return f'type: "ImageData" image_data_param {{ source: "{source.as_posix()}" batch_size: 2 OPTIONS }}'


def _pairs(folder: Path, count: int) -> str:
    return pair_list(folder / "pairs", grays(count), [image[0] for image in grays(count)]).as_posix()


def image_labelmap_data(folder: Path, count: int) -> str:
    source = _pairs(folder, count)
    return f'type: "ImageLabelmapData" image_data_param {{ source: "{source}" batch_size: 2 OPTIONS }}'


def image_seg_data(folder: Path, count: int) -> str:
    return (
        'type: "ImageSegData" transform_param { crop_size: 20 mirror: true } '
        f'image_data_param {{ source: "{_pairs(folder, count)}" batch_size: 2 label_type: PIXEL OPTIONS }}'
    )


def dense_image_data(folder: Path, count: int) -> str:
    return (
        f'type: "DenseImageData" dense_image_data_param {{ source: "{_pairs(folder, count)}" batch_size: 2 '
        "mirror: true crop_height: 20 crop_width: 20 OPTIONS }"
    )


def seg_data(folder: Path, count: int) -> str:
    return (
        'type: "SegData" transform_param { scale_ratios: 0.5 scale_ratios: 2 } '
        f'seg_data_param {{ source: "{_pairs(folder, count)}" OPTIONS }}'
    )


def hdf5_data(folder: Path, count: int) -> str:
    source = hdf5_list(folder, [count])
    path = folder / "part0.h5"
    path.unlink()
    write_hdf5(path, data=np.arange(1, count + 1)[:, None] * STEP, label=np.arange(count))
    return f'type: "HDF5Data" hdf5_data_param {{ source: "{source.as_posix()}" batch_size: 2 OPTIONS }}'


def several_hdf5(folder: Path, count: int) -> str:
    """Files of one row and of the others, with which batches of all workers span many rounds and files."""
    text, first = hdf5_data(folder, count), 0
    parts = [1, count - 2, 1]
    paths = [folder / f"several{i}.h5" for i in range(len(parts))]
    for path, rows in zip(paths, parts, strict=True):
        own = np.arange(first, first + rows)
        write_hdf5(path, data=(1 + own)[:, None] * STEP, label=own)
        first += rows
    (folder / "list.txt").write_text("".join(f"{path.as_posix()}\n" for path in paths), encoding="utf-8")
    return text


def _objects(folder: Path, count: int) -> str:
    return object_file(folder / "objects", [(image, [(1, 0, 0, 4, 4, 20, 20)]) for image in grays(count)]).as_posix()


def eval_data(folder: Path, count: int) -> str:
    source = _objects(folder, count)
    size = f"resize_width: {SIDE} resize_height: {SIDE}"
    return f'type: "EvalData" eval_data_param {{ source: "{source}" batch_size: 2 {size} OPTIONS }}'


def detection_data(folder: Path, count: int) -> str:
    source, anchors = _objects(folder, count), "stride: 8 field_w: 20 field_h: 20"
    return (
        'type: "DetectionData" transform_param { mirror: true } detection_data_param '
        f'{{ source: "{source}" batch_size: 2 {anchors} OPTIONS }}'
    )


def folders_of_frames(folder: Path, count: int) -> str:
    for number, image in enumerate(grays(count)):
        (folder / str(number)).mkdir()
        for frame in (1, 2, 3):
            cv2.imwrite(str(folder / str(number) / f"{frame}.png"), image.transpose(1, 2, 0))
    (folder / "list.txt").write_text("".join(f"{folder.as_posix()}/{n} 3 {n}\n" for n in range(count)))
    param = f'source: "{folder.as_posix()}/list.txt" batch_size: 2 modality: RGB name_pattern: "%d.png"'
    return f'type: "VideoData" video_data_param {{ {param} OPTIONS }}'


Source = Callable[[Path, int], str]
SHUFFLE = "shuffle: true"
SOURCES: list[tuple[Source, str]] = [
    *itertools.product([lmdb, leveldb, annotated_data, lane_data, image_data, image_labelmap_data], ["", SHUFFLE]),
    *itertools.product([image_seg_data, dense_image_data, seg_data], ["", SHUFFLE]),
    *itertools.product([hdf5_data, several_hdf5, folders_of_frames], ["", SHUFFLE]),
    (eval_data, ""),
    (image_data, "rand_skip: 4"),
    (sampled, SHUFFLE),
    *((detection_data, f'shuffle: "{order}"' if order else "") for order in ("", "random", "random_mix_aspect")),
]
PARAMETERS = [pytest.param(*source, id=f"{source[0].__name__}-{source[1]}") for source in SOURCES]
# Nothing but their order is random.
PLAIN = [case for case in PARAMETERS if case.values[0] in (lmdb, leveldb, image_data, hdf5_data, several_hdf5)]

MakeWorkers = Callable[..., list[Net]]


@pytest.fixture
def make_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorkers]:
    """Return ``make_workers(text, count, phase, seeds)``, which makes the same net for each of so many workers."""
    nets: list[Net] = []
    monkeypatch.setattr(ranks, "_solver", ranks.WHOLE)
    monkeypatch.setattr(ranks, "_tested", ranks.WHOLE)

    def make(text: str, count: int, phase: int = TRAIN, seeds: Sequence[int] = (1,) * 9) -> list[Net]:
        path = tmp_path / "net.prototxt"
        path.write_text(f'layer {{ name: "source" top: "data" top: "label" {text} }}', encoding="utf-8")
        made = []
        for rank in range(count):
            ranks.set_solver_count(count)
            ranks.set_solver_rank(rank)
            made.append(Net(path, phase, engine="numpy", seed=seeds[rank]))
        ranks.set_solver_rank(0)
        ranks.set_solver_count(1)
        nets.extend(made)
        return made

    yield make
    for net in nets:
        net.close()


def read(nets: Sequence[Net], batches: int) -> list[int]:
    """Return the records that all workers read, in the order in which they are dealt."""
    dealt = []
    for _ in range(batches):
        for together in zip(*map(numbers, nets), strict=True):
            dealt += together
    return dealt


def check_rounds(dealt: Sequence[int], count: int, skipped: int = 0) -> None:
    """Check that, after a first round without those that were skipped, every record comes once in each round."""
    rest = dealt[count - skipped :]
    for start in range(0, len(rest) - count + 1, count):
        assert sorted(rest[start : start + count]) == list(range(count))
    first = dealt[: count - skipped]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize(("source", "options"), PARAMETERS)
@pytest.mark.parametrize(("workers", "count"), [(2, 7), (3, 7), (5, 3)])
def test_every_round_holds_every_record_once(
    make_workers: MakeWorkers, tmp_path: Path, source: Source, options: str, workers: int, count: int
) -> None:
    if "skip" in options and count < 4:
        options = "rand_skip: 2"
    text = source(tmp_path, count).replace("OPTIONS", options)
    dealt = read(make_workers(text, workers), 6)
    skipped = dealt[0] if "skip" in options else 0
    check_rounds(dealt, count, skipped)
    if SHUFFLE not in options and '"random' not in options:
        assert dealt == [(skipped + i) % count for i in range(len(dealt))]


@pytest.mark.parametrize(("source", "options"), PLAIN)
@pytest.mark.parametrize("workers", [2, 5])
def test_they_read_what_one_would(
    make_workers: MakeWorkers, tmp_path: Path, source: Source, options: str, workers: int
) -> None:
    text = source(tmp_path, 7).replace("OPTIONS", options)
    dealt = read(make_workers(text, workers), 4)
    alone = read(make_workers(text, 1), 4 * workers)
    assert dealt == alone


@pytest.mark.parametrize(("source", "options"), PARAMETERS)
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 2), (2, 5), (5, 2)])
def test_a_snapshot_goes_on_with_any_number_of_workers(
    make_workers: MakeWorkers, tmp_path: Path, source: Source, options: str, before: int, after: int
) -> None:
    text = source(tmp_path, 7).replace("OPTIONS", options)
    nets = make_workers(text, before)
    dealt = read(nets, 2)
    first = nets[0].state()
    resumed = make_workers(text, after, seeds=range(11, 20))
    for rank, net in enumerate(resumed):
        net.restore_state(ranks.diverged(json.loads(json.dumps(first)), rank))
    dealt += read(resumed, 1)
    # Once more, in the middle: the ranks have drawn different numbers by now.
    again = make_workers(text, before, seeds=range(21, 30))
    for rank, net in enumerate(again):
        net.restore_state(ranks.diverged(resumed[0].state(), rank))
    dealt += read(again, 5)
    check_rounds(dealt, 7, dealt[0] if "skip" in options else 0)


@pytest.mark.parametrize(("source", "options"), PARAMETERS)
def test_a_worker_resumes_exactly(make_workers: MakeWorkers, tmp_path: Path, source: Source, options: str) -> None:
    text = source(tmp_path, 7).replace("OPTIONS", options)

    def batches(net: Net) -> list[bytes]:
        found = []
        for _ in range(6):
            net.forward()
            found.append(np.copy(net.blobs["data"].data).tobytes())
        return found

    nets = make_workers(text, 2)
    read(nets, 3)
    states = [json.loads(json.dumps(net.state())) for net in nets]
    wanted = [batches(net) for net in nets]
    others = make_workers(text, 2, seeds=(5, 6))
    for net, state in zip(others, states, strict=True):
        net.restore_state(state)
    assert [batches(net) for net in others] == wanted


def test_a_video_is_dealt_frame_by_frame(make_workers: MakeWorkers, tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (SIDE, SIDE))
    for image in grays(20):
        writer.write(np.ascontiguousarray(image.transpose(1, 2, 0)))
    writer.release()
    text = (
        'type: "VideoData" data_param { batch_size: 2 } '
        f'video_data_param {{ video_type: VIDEO video_file: "{path.as_posix()}" }}'
    )
    nets = make_workers(text, 3)
    assert read(nets, 2) == list(range(12))
    resumed = make_workers(text, 2)
    for rank, net in enumerate(resumed):
        net.restore_state(ranks.diverged(nets[0].state(), rank))
    assert read(resumed, 2) == list(range(12, 20))


def test_workers_mirror_and_crop_differently(make_workers: MakeWorkers, tmp_path: Path) -> None:
    image = np.arange(3 * SIDE * SIDE, dtype=np.uint8).reshape(3, SIDE, SIDE)
    source = image_list(tmp_path / "images", [image])
    text = (
        'type: "ImageData" transform_param { crop_size: 5 mirror: true } '
        f'image_data_param {{ source: "{source.as_posix()}" batch_size: 4 shuffle: true }}'
    )
    nets = make_workers(text, 3)
    for rank, net in enumerate(nets):
        net.restore_state(ranks.diverged(nets[0].state(), rank))
    batches = []
    for net in nets:
        net.forward()
        batches.append(np.copy(net.blobs["data"].data))
    for one, other in itertools.combinations(batches, 2):
        assert (one != other).any(axis=(1, 2, 3)).all()


def _windows(folder: Path, count: int) -> str:
    """Windows of gray images, of which those with even numbers are foreground."""
    images = [(image, [(1, float(i % 2 == 0), 4, 4, 20, 20)]) for i, image in enumerate(grays(count))]
    source = window_file(folder / "windows", images)
    return (
        'type: "WindowData" transform_param { crop_size: 6 } window_data_param '
        f'{{ source: "{source.as_posix()}" batch_size: SIZE fg_fraction: 0.5 }}'
    )


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_windows_are_those_that_one_would_draw(make_workers: MakeWorkers, tmp_path: Path, workers: int) -> None:
    text = _windows(tmp_path, 6)
    alone = make_workers(text.replace("SIZE", str(4 * workers)), 1)
    nets = make_workers(text.replace("SIZE", "4"), workers)

    def together() -> list[int]:
        batches = [numbers(net) for net in nets]
        return [batch[i] for i in range(4) for batch in batches]

    for _ in range(3):
        assert together() == numbers(alone[0])
    # The place is common: another number of workers goes on with what one would draw.
    resumed = make_workers(text.replace("SIZE", str(2 * workers)), 2, seeds=(8, 9))
    for rank, net in enumerate(resumed):
        net.restore_state(ranks.diverged(nets[0].state(), rank))
    for _ in range(2):
        batches = [numbers(net) for net in resumed]
        assert [batch[i] for i in range(2 * workers) for batch in batches] == numbers(alone[0])


def test_no_worker_draws_the_numbers_of_another_or_of_the_order(make_workers: MakeWorkers, tmp_path: Path) -> None:
    text = _windows(tmp_path, 6).replace("SIZE", "4")

    def check(nets: Sequence[Net]) -> None:
        places = [net.state()["layers"][0][-1] for net in nets]
        assert all(place["before"] == places[0]["before"] for place in places)
        generators = [places[0]["before"], *(place["rng"] for place in places)]
        assert len({json.dumps(generator) for generator in generators}) == 4

    check(make_workers(text, 3))
    (alone,) = make_workers(text, 1)
    for state in (alone.state(), make_workers(text, 2)[0].state()):
        nets = make_workers(text, 3, seeds=(5, 6, 7))
        for rank, net in enumerate(nets):
            net.restore_state(ranks.diverged(state, rank))
        check(nets)


def test_windows_go_on_from_a_snapshot_without_their_place(make_workers: MakeWorkers, tmp_path: Path) -> None:
    text = _windows(tmp_path, 6).replace("SIZE", "4")
    (net,) = make_workers(text, 1)
    numbers(net)
    state = net.state()
    wanted = [numbers(net) for _ in range(3)]
    ((_, _, place),) = state["layers"]
    del place["before"]
    (again,) = make_workers(text, 1, seeds=(5,))
    again.restore_state(state)
    assert [numbers(again) for _ in range(3)] == wanted


@pytest.mark.parametrize("source", [lmdb, leveldb, image_data, several_hdf5, eval_data, folders_of_frames])
def test_whole_batches_are_dealt_for_testing(make_workers: MakeWorkers, tmp_path: Path, source: Source) -> None:
    text = source(tmp_path, 7).replace("OPTIONS", "")
    (alone,) = make_workers(text, 1, TEST)
    wanted = [numbers(alone) for _ in range(9)]
    for rank in range(3):
        ranks.deal_batches(rank, 3)
        (net,) = make_workers(text, 1, TEST)
        assert [numbers(net) for _ in range(3)] == wanted[rank::3]


def test_test_nets_read_everything(make_workers: MakeWorkers, tmp_path: Path) -> None:
    nets = make_workers(lmdb(tmp_path, 7).replace("OPTIONS", ""), 3, TEST)
    assert [numbers(net) for net in nets] == [[0, 1]] * 3


def test_a_rank_without_a_count_is_refused(make_workers: MakeWorkers, tmp_path: Path) -> None:
    make_workers(lmdb(tmp_path, 3).replace("OPTIONS", ""), 1)
    ranks.set_solver_rank(1)
    with pytest.raises(WorkerError, match=r"solver_rank is 1, and solver_count 1\. Set both"):
        Net(tmp_path / "net.prototxt", TRAIN, engine="numpy")
