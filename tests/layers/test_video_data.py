from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import DataError, LayerError

cv2 = pytest.importorskip("cv2")


def data_net(make_net, param, phase=TEST, tops=2, more=""):
    ends = "".join(f' top: "y{i}"' for i in range(tops))
    return make_net(f'layer {{ name: "d" type: "VideoData" {ends} video_data_param {{ {param} }} {more} }}', phase)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Make two folders of frames whose gray says which frame they are, and a list of them."""
    for name, count in (("run", 12), ("jump", 5)):
        (tmp_path / name).mkdir()
        for n in range(1, count + 1):
            frame = np.full((6, 8), 10 * n, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"flow_x_{n:04d}.png"), frame)
            cv2.imwrite(str(tmp_path / name / f"flow_y_{n:04d}.png"), frame + 1)
            cv2.imwrite(str(tmp_path / name / f"{n}.png"), np.stack([frame, frame + 1, frame + 2], 2))
    source = tmp_path / "list.txt"
    source.write_text(f"{tmp_path}/run 12 3\n\n{tmp_path}/jump 5 7\n")
    return source


def grays(net) -> list[list[int]]:
    return net.blobs["y0"].data[:, :, 2, 3].astype(int).tolist()


def test_flow_from_the_middles_of_parts(make_net, clips) -> None:
    param = f'source: "{clips}" batch_size: 2 num_segments: 2 new_length: 3 name_pattern: "flow_%c_%04d.png"'
    net = data_net(make_net, param)
    net.forward()
    # Parts of 6 frames have room for 4 beginnings, parts of 2 frames have none.
    stacks = [[30, 31, 40, 41, 50, 51, 90, 91, 100, 101, 110, 111], [10, 11, 20, 21, 30, 31] * 2]
    assert grays(net) == stacks
    assert net.blobs["y0"].shape == (2, 12, 6, 8)
    assert net.blobs["y1"].data.tolist() == [3, 7]


def test_rgb_from_random_places_in_train(make_net, clips) -> None:
    param = f'source: "{clips}" batch_size: 2 num_segments: 3 modality: RGB name_pattern: "%d.png"'
    net, seen = data_net(make_net, param, TRAIN), []
    for _ in range(30):
        net.forward()
        (run, jump), numbers = grays(net), net.blobs["y1"].data.tolist()
        assert numbers == [3, 7]
        seen.append([gray // 10 for gray in run[::3]])
        assert [gray % 10 for gray in run] == [0, 1, 2] * 3
        assert jump[::3] == [10, 20, 30]  # parts of one frame
    for part in range(3):
        assert {row[part] for row in seen} == set(range(1 + 4 * part, 5 + 4 * part))


def test_sizes_gray_and_the_transform(make_net, clips) -> None:
    param = f'source: "{clips}" batch_size: 1 modality: RGB name_pattern: "%d.png" new_height: 4 new_width: 10'
    net = data_net(make_net, f"{param} grayscale: true", more="transform_param { mean_value: 60 crop_h: 2 crop_w: 8 }")
    net.forward()
    assert net.blobs["y0"].shape == (1, 1, 2, 8)
    np.testing.assert_array_equal(net.blobs["y0"].data, 70 + 1 - 60)  # frame 7; the green of its three grays


def test_a_resumed_run_sees_the_same_batches(make_net, clips) -> None:
    param = f'source: "{clips}" batch_size: 1 new_length: 2 shuffle: true name_pattern: "flow_%c_%04d.png"'
    net = data_net(make_net, param, TRAIN)
    for _ in range(3):
        net.forward()
    state, wanted = net.state(), []
    for _ in range(5):
        net.forward()
        wanted.append(grays(net))
    other = data_net(make_net, param, TRAIN)
    other.restore_state(state)
    for stack in wanted:
        other.forward()
        assert grays(other) == stack


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for n in range(10):
        writer.write(np.full((24, 32, 3), 20 * n, np.uint8))
    writer.release()
    return path


def test_frames_of_a_video(make_net, video) -> None:
    param = f'video_type: VIDEO video_file: "{video}" skip_frames: 1'
    net = data_net(make_net, param, tops=1, more="data_param { batch_size: 2 prefetch: 1 }")
    assert net.blobs["y0"].shape == (2, 3, 24, 32)
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data[:, 0, 3, 4], [20, 60], atol=3)
    state = net.state()
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data[:, 0, 3, 4], [100, 140], atol=3)
    resumed = data_net(make_net, param, more="data_param { batch_size: 2 prefetch: 1 }")
    resumed.restore_state(state)
    resumed.forward()
    np.testing.assert_allclose(resumed.blobs["y0"].data[:, 0, 3, 4], [100, 140], atol=3)
    assert resumed.blobs["y1"].data.tolist() == [0, 0]


def test_the_end_of_a_video(make_net, video) -> None:
    net = data_net(make_net, f'video_type: VIDEO video_file: "{video}"', more="data_param { batch_size: 4 }")
    net.forward()
    net.forward()
    with pytest.raises(DataError, match="ends after 10 frames"):
        net.forward()


@pytest.mark.parametrize(
    ("param", "more", "what"),
    [
        ("", "", "batch_size of data_param is 0"),
        ("video_type: VIDEO", "data_param { batch_size: 1 }", "there is no video_file"),
        ('video_type: VIDEO video_file: "/no"', "data_param { batch_size: 1 }", "there is no such video"),
        ('source: "LIST"', "", "batch_size is 0"),
        ('source: "LIST" batch_size: 1 new_width: 3', "", "one of new_height and new_width is given"),
        ('source: "LIST" batch_size: 1 num_segments: 0', "", "num_segments is 0 and new_length is 1"),
        ('source: "LIST" batch_size: 1 name_pattern: "a%d"', "", "has no place for x or y and a number"),
        ('source: "LIST" batch_size: 1 new_length: 13 name_pattern: "flow_%c_%04d.png"', "", "flow_x_0013.png"),
        ('source: "/no" batch_size: 1', "", "there is no file '/no'"),
    ],
)
def test_what_is_refused(make_net, clips, param, more, what) -> None:
    with pytest.raises((LayerError, DataError), match=what):
        data_net(make_net, param.replace("LIST", str(clips)), more=more)


def test_a_line_without_numbers(make_net, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("folder 12\n")
    with pytest.raises(DataError, match="'folder 12' does not end in two whole numbers"):
        data_net(make_net, f'source: "{tmp_path}/list.txt" batch_size: 1')


def test_stacks_of_flow_are_cropped_and_mirrored_as_temporal_segment_networks_do(make_net, clips) -> None:
    param = f'source: "{clips}" batch_size: 20 new_length: 5 name_pattern: "flow_%c_%04d.png"'
    transform = "crop_size: 4 mirror: true is_flow: true multi_scale: true fix_crop: true scale_ratios: [1, 0.7]"
    net = data_net(make_net, param, TRAIN, more=f"transform_param {{ {transform} mean_value: 1 mean_value: 2 }}")
    net.forward()
    stacks = net.blobs["y0"].data
    assert stacks.shape == (20, 10, 4, 4)
    mirrored = 0
    for stack in stacks:
        x, y = stack[::2, 0, 0] + 1, stack[1::2, 0, 0] + 2
        assert (stack == stack[:, :1, :1]).all()  # frames are of one gray
        mirrored += x[0] != y[0] - 1
        np.testing.assert_array_equal(x, 256 - y if x[0] != y[0] - 1 else y - 1)
    assert 4 <= mirrored <= 16
