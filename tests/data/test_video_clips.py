"""Video clips: synthetic digits move as labelled, and clips of files are read unchanged."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tfseq.data import changing_digits, clips_of_tfds, load_clips, load_images, moving_digits
from tfseq.data.video_clips import DIRECTIONS
from tfseq.errors import DataError

SIZES = (60, 10, 20)


def parts_of(data):
    return data.train, data.validation, data.test


def pictures(part):
    """Every image of a part, as a sorted list of its pixels that are not black: what drifting can't change."""
    return {tuple(sorted(image[image > 0].tolist())) for image in part.inputs}


@pytest.mark.parametrize("directions", [4, 8])
def test_each_frame_is_the_one_before_moved_as_the_label_says(directions):
    data = moving_digits(SIZES, frames=6, directions=directions)
    assert data.labels == tuple(DIRECTIONS)[:directions]
    assert data.train.inputs.shape == (60, 6, 16, 16, 1)
    for clip, label in zip(*data.train):
        moved = {name: np.roll(clip[:-1], by, axis=(1, 2)) for name, by in DIRECTIONS.items()}
        assert [name for name in moved if (moved[name] == clip[1:]).all()] == [data.labels[label]]
    assert set(data.train.targets) == set(range(directions))


def test_parts_show_disjoint_digits():
    digits, data = load_images(), moving_digits((300, 50, 100), frames=2)
    for part, source in zip(parts_of(data), parts_of(digits)):
        assert {tuple(sorted(c[0][c[0] > 0].tolist())) for c in part.inputs} <= pictures(source)
    assert not pictures(digits.train) & pictures(digits.test)


def test_a_single_frame_does_not_tell_the_direction():
    data = moving_digits((4000, 1, 1), frames=1)
    rows = data.train.inputs[:, 0, :, :, 0].sum((1, 2), dtype="int64")
    means = [rows[data.train.targets == label].mean() for label in range(4)]
    assert np.ptp(means) < 0.05 * rows.mean()
    centres = [data.train.inputs[data.train.targets == label][:, 0].mean(0) for label in range(4)]
    assert np.ptp([c.std() for c in centres]) < 3  # light is spread evenly, whatever the direction


def test_lengths_may_differ():
    data = moving_digits(SIZES, frames=(3, 7))
    assert {len(clip) for clip in data.train.inputs} == set(range(3, 8))
    per_frame = changing_digits(SIZES, frames=(3, 7))
    assert [len(clip) for clip in per_frame.train.inputs] == [len(target) for target in per_frame.train.targets]


def test_digits_change_along_the_clip_and_each_frame_has_its_label():
    images = load_images()
    data = changing_digits(SIZES, frames=9, shown=1.0, images=images)
    labels = {}
    for image, label in zip(*images.train):
        labels.setdefault(tuple(sorted(image[image > 0].tolist())), set()).add(label)
    for clip, targets in zip(*data.train):
        for frame, target in zip(clip, targets, strict=True):
            assert target in labels[tuple(sorted(frame[frame > 0].tolist()))]
        stays = np.diff(np.flatnonzero(np.r_[True, (clip[1:] != clip[:-1]).any((1, 2, 3)), True]))
        assert all(2 <= stay <= 5 for stay in stays[:-1])


def test_only_a_share_of_the_pixels_is_shown():
    shown, hidden = (changing_digits((200, 1, 1), shown=share) for share in (1.0, 0.5))
    assert (hidden.train.inputs > 0).mean() == pytest.approx(0.5 * (shown.train.inputs > 0).mean(), rel=0.05)


def test_clips_depend_on_the_seed_alone():
    first, again, other = (moving_digits((5, 2, 2), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.test.inputs, again.test.inputs)
    assert first.sha256 == again.sha256 != other.sha256


@pytest.mark.parametrize(
    "wrong", [{"directions": 5}, {"canvas": 8}, {"frames": 0}, {"frames": (5, 3)}, {"sizes": (1, 1, 0)}]
)
def test_what_can_not_be_drawn_is_refused(wrong):
    with pytest.raises(DataError, match="expected"):
        moving_digits(**wrong)


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for label in ("run", "walk"):
        (tmp_path / label / "pictures").mkdir(parents=True)
        for i in range(3):
            image.fromarray(np.full((4, 5, 3), i, "uint8")).save(tmp_path / label / "pictures" / f"{i:02d}.png")
        for i in range(19):
            np.save(tmp_path / label / f"{i}.npy", np.full((2 + i % 3, 4, 5, 3), 100 + i, "uint8"))
    return tmp_path


def test_a_folder_of_clips_is_read(folder):
    data = load_clips(folder)
    assert data.labels == ("run", "walk")
    assert [len(part) for part in parts_of(data)] == [32, 4, 4]
    clips = [clip for part in parts_of(data) for clip in part.inputs]
    assert sorted(clip.flat[0] for clip in clips) == [0, 0, *np.repeat(np.arange(100, 119), 2)]
    (pictures, _) = (clip for clip in clips if clip.flat[0] == 0)
    assert pictures[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_folders_without_clips_and_damaged_clips_are_refused(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match=r"has no clips; expected LABEL/CLIP.npy"):
        load_clips(empty)
    np.save(folder / "run" / "0.npy", np.zeros((2, 4, 5, 3)))
    with pytest.raises(DataError, match=r"0.npy is float64 of shape .*expected uint8"):
        load_clips(folder)
    (folder / "run" / "0.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"0.npy is not a clip that can be read"):
        load_clips(folder)


def test_videos_of_tfds_are_scaled_and_sampled():
    tf, tfds = pytest.importorskip("tensorflow"), pytest.importorskip("tensorflow_datasets")
    video = np.arange(9, dtype="uint8")[:, None, None, None] * np.ones((1, 6, 8, 3), "uint8")

    def as_dataset(builder, split, **kwargs):
        return tf.data.Dataset.from_tensors({"video": video, "label": np.int64(7)})

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        train, _, labels = clips_of_tfds("ucf101", frames=5, size=(3, 4))
    ((clip, label),) = train.as_numpy_iterator()
    assert clip.shape == (5, 3, 4, 3)
    assert clip[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 8]
    assert (label, len(labels)) == (7, 101)
    assert train.element_spec[0].shape == (5, 3, 4, 3)
