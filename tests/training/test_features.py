import datetime as dt
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from sklearn.utils import get_tags

from assay.errors import InputError
from assay.training.features import default_model, embedding_features
from assay.training.features_image import gradient_histograms, image_features, open_picture
from assay.training.features_table import table_features
from assay.training.features_text import text_features
from assay.training.out_of_fold import out_of_fold

N = 60


def read(**columns: Any) -> Any:
    return table_features(pa.table(columns))


# Tables, by hand


def test_numbers_keep_their_values_and_their_gaps() -> None:
    values = [1, None, 3] * 20
    for kind in (pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(21, 1)):
        column = read(x=pa.array(values, pa.int64()).cast(pa.float64()).cast(kind) if kind != pa.int8() else values)
        np.testing.assert_array_equal(column.matrix[:, 0], [1, np.nan, 3] * 20)


def test_categories_become_ranks_by_frequency_and_the_rare_share_one() -> None:
    values = ["b"] * 30 + ["a"] * 20 + ["c"] * 6 + ["rare", "scarce"] + [None] * 2
    for column in (pa.array(values), pa.array(values).dictionary_encode(), pa.array(values, pa.large_string())):
        found = read(sort=column)
        expected = [0] * 30 + [1] * 20 + [2] * 6 + [3, 3, np.nan, np.nan]
        np.testing.assert_array_equal(found.matrix[:, 0], expected)
        assert found.notes == ("Column 'sort': its 2 rarest categories count as one.",)


def test_equal_frequencies_are_ranked_by_name_in_any_order_of_rows() -> None:
    np.testing.assert_array_equal(read(x=["z", "a"] * 30).matrix[:, 0], [1, 0] * 30)
    np.testing.assert_array_equal(read(x=["a", "z"] * 30).matrix[:, 0], [0, 1] * 30)


def test_dates_become_days_and_what_recurs() -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=37 * i) for i in range(N)]
    found = read(day=days)
    assert found.names == ("day", "day month", "day weekday")
    expected = [((d - dt.date(1970, 1, 1)).days, d.month, d.weekday()) for d in days]
    np.testing.assert_array_equal(found.matrix, expected)
    moments = [dt.datetime(2020, 1, 1) + dt.timedelta(hours=31 * i) for i in range(N)]
    found = read(at=moments)
    assert found.names == ("at", "at month", "at weekday", "at hour")
    np.testing.assert_array_equal(found.matrix[:, 3], [m.hour for m in moments])
    np.testing.assert_allclose(
        found.matrix[:, 0], [(m - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1) for m in moments]
    )


def test_booleans_times_and_durations() -> None:
    found = read(
        yes=[True, None, False] * 20,
        clock=[dt.time(i % 24) for i in range(N)],
        took=[dt.timedelta(seconds=i % 7) for i in range(N)],
    )
    assert found.names == ("yes", "clock", "took")
    np.testing.assert_array_equal(found.matrix[:3, 0], [1, np.nan, 0])
    assert len(np.unique(found.matrix[:, 1])) == 24
    assert len(np.unique(found.matrix[:, 2])) == 7


def test_columns_that_say_nothing_are_left_out_with_a_note() -> None:
    found = read(
        keep=list(range(0, 2 * N, 2)),
        number=list(range(100, 100 + N))[::-1],
        key=[f"k{i}" for i in range(N)],
        essay=[f"a text of more than thirty letters, number {i}" for i in range(N)],
        empty=pa.nulls(N),
        same=["x"] * N,
        parts=[[1, 2]] * N,
    )
    assert found.names == ("keep",)
    reasons = ["numbers the rows", "name the rows", "audit it as a text", "no value", "constant", "type list"]
    assert len(found.notes) == len(reasons)
    assert all(reason in note for reason, note in zip(reasons, found.notes, strict=True))


def test_infinite_numbers_count_as_extremes() -> None:
    found = read(x=[1.0, 2.0, float("inf"), float("-inf")] * 15)
    np.testing.assert_array_equal(found.matrix[:4, 0], [1, 2, 2, 1])
    assert "30 infinite" in found.notes[0]


def test_no_usable_column_is_an_error() -> None:
    with pytest.raises(InputError, match=r"No usable column is left of 1.*'x' is constant"):
        read(x=[1.0] * N)


def test_a_copy_of_the_label_is_warned_about_and_an_honest_column_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    table = pa.table(
        {
            "copy": np.array(["low", "mid", "high"])[labels],
            "code": labels * 10 + 5,
            "good": labels + rng.normal(0, 0.4, 500),
            "noise": rng.normal(size=500),
        }
    )
    found = table_features(table, labels)
    assert [warning.split("'")[1] for warning in found.warnings] == ["copy", "code"]
    assert "hides every error" in found.warnings[0]
    assert table_features(table).warnings == ()
    mask = np.arange(500) < 100
    assert len(table_features(table, np.where(mask, labels, 0), mask).warnings) == 2


def test_a_rare_class_does_not_make_a_constant_guess_look_like_a_leak() -> None:
    labels = (np.arange(2000) % 400 == 0).astype(int)
    found = table_features(pa.table({"noise": np.random.default_rng(0).normal(size=2000)}), labels)
    assert found.warnings == ()


def test_permuting_rows_permutes_table_features() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=N), "s": rng.choice(list("abc"), N)})
    order = rng.permutation(N)
    np.testing.assert_array_equal(table_features(table.take(order)).matrix, table_features(table).matrix[order])


def test_chunked_columns_and_empty_tables() -> None:
    chunked = pa.table({"x": pa.chunked_array([["a"] * 30, ["b"] * 30])})
    assert table_features(chunked).matrix.shape == (N, 1)
    with pytest.raises(InputError, match="No usable column"):
        table_features(chunked.slice(0, 0))


# Texts


def test_texts_by_hand() -> None:
    found = text_features(["red wine", "red beer", None, "red wine"])
    matrix = found.matrix.toarray()
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[0], matrix[3])
    assert not matrix[2].any()
    np.testing.assert_allclose(np.square(matrix[[0, 1]]).sum(1), 2, rtol=1e-5)  # two parts of unit length
    assert "1 of 4 texts are empty" in found.notes[0]


def test_letter_groups_read_through_spelling() -> None:
    matrix = text_features(["refund", "refunds", "transfer", "transfers"]).matrix
    near, far = matrix[0] @ matrix[1].T, matrix[0] @ matrix[2].T
    assert near.toarray()[0, 0] > 0.3 > far.toarray()[0, 0]


def test_long_texts_are_read_by_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = text_features(["red wine", "red beer"]).matrix.shape[1]
    monkeypatch.setattr("assay.training.features_text.LETTERS", 5)
    assert text_features(["red wine", "red beer"]).matrix.shape[1] < both


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one string", "one string"),
        (["a", 5], r"int, not str.*row: 1"),
        ([None, " "], "All 2 texts are empty"),
    ],
)
def test_bad_texts(texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        text_features(texts)


def test_punctuation_alone_is_read_by_letters_and_refused_by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_features(["...", "!"]).matrix.shape[0] == 2
    monkeypatch.setattr("assay.training.features_text.LETTERS", 0)
    with pytest.raises(InputError, match="No text holds a word"):
        text_features(["...", "!"])


# Images


def test_gradient_histograms_by_a_plain_loop() -> None:
    grey = np.random.default_rng(0).random((2, 12, 16)).astype(np.float32)
    found = gradient_histograms(grey)
    for b in range(2):
        cells = np.zeros((3, 4, 9))
        down, across = np.gradient(grey[b].astype(float))
        for y in range(12):
            for x in range(16):
                length = np.hypot(down[y, x], across[y, x])
                place = np.arctan2(down[y, x], across[y, x]) % np.pi / np.pi * 9
                low = int(place)
                cells[y // 4, x // 4, low % 9] += length * (1 - (place - low))
                cells[y // 4, x // 4, (low + 1) % 9] += length * (place - low)
        blocks = []
        for y in range(2):
            for x in range(3):
                block = np.concatenate([cells[y, x], cells[y + 1, x], cells[y, x + 1], cells[y + 1, x + 1]])
                blocks.append(block / np.sqrt((block**2).sum() + 1e-3))
        np.testing.assert_allclose(found[b], np.concatenate(blocks), atol=1e-5)


def test_one_picture_in_every_form_reads_the_same(tmp_path: Path) -> None:
    pixels = load_sample_images().images[0][::8, ::8]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    forms = [
        pixels,
        pixels / 255,
        Image.fromarray(pixels),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        (tmp_path / "a.png").read_bytes(),
    ]
    read_as = [open_picture(form, 0, 32) for form in forms]
    assert all(np.array_equal(one, read_as[0]) for one in read_as)
    assert read_as[0].shape == (32, 32, 3)


def test_grey_palette_alpha_and_16_bit_pictures_are_read() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    deep = Image.fromarray(grey.astype(np.uint16) * 256)
    for picture in (Image.fromarray(grey).convert("P"), Image.fromarray(grey).convert("RGBA"), grey[..., None]):
        np.testing.assert_allclose(open_picture(picture, 0, 8).mean(2), grey, atol=2)
    assert np.ptp(open_picture(deep, 0, 8)) > 200


def test_a_turned_photo_is_turned_upright() -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255  # white above black
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels[::-1].copy()).save(stream, "PNG", exif=exif)
    np.testing.assert_array_equal(open_picture(stream.getvalue(), 0, 16)[..., 0], pixels)


def test_image_features_are_small_scaled_and_repeatable() -> None:
    pixels, labels = load_digits(return_X_y=True)
    seen: list[tuple[int, int]] = []
    found = image_features(pixels.reshape(-1, 8, 8) / 16, on_row=lambda done, n: seen.append((done, n)))
    assert found.matrix.shape == (1797, 128)
    assert found.matrix.dtype == np.float32
    assert found.matrix.var(0).sum() == pytest.approx(1, abs=0.01)
    assert seen == [(1000, 1797), (1797, 1797)]
    np.testing.assert_array_equal(image_features(pixels.reshape(-1, 8, 8) / 16).matrix, found.matrix)
    assert image_features(pixels[:3].reshape(-1, 8, 8) / 16).matrix.shape == (3, 3)
    model = default_model("image", 1797, 10)
    assert out_of_fold(found.matrix, labels, 10, model=model, n_splits=2).accuracy > 0.98


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 7), np.uint8), r"shape \(4, 4, 7\)"),
        (np.full((4, 4), 7.0), "outside 0..1"),
        (np.full((4, 4), np.nan), "outside 0..1"),
        (b"not a picture", "can't be read"),
        (Path("/nowhere/a.png"), "/nowhere/a.png can't be read"),
        (None, "NoneType"),
    ],
)
def test_a_bad_picture_names_its_row(picture: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        image_features([np.zeros((4, 4), np.uint8), picture])
    assert caught.value.row == 1


def test_no_images() -> None:
    with pytest.raises(InputError, match="no images"):
        image_features([])


# Embeddings and default models


def test_embeddings() -> None:
    assert embedding_features(np.zeros((2, 3), np.float16)).matrix.dtype == np.float32
    with pytest.raises(InputError, match=r"shape \(n, d\)"):
        embedding_features(np.zeros(3))
    with pytest.raises(InputError, match=r"not finite.*row: 1"):
        embedding_features([[0.0], [np.inf]])


@pytest.mark.parametrize(("n", "k"), [(20, 2), (5000, 2), (5000, 77)])
def test_default_models_by_size(n: int, k: int) -> None:
    names = {media: type(default_model(media, n, k)).__name__ for media in ("table", "text", "image", "embedding")}
    boosted = (n, k) == (5000, 2)
    assert names["table"] == ("HistGradientBoostingClassifier" if boosted else "ExtraTreesClassifier")
    assert get_tags(default_model("table", n, k)).input_tags.allow_nan
    with pytest.raises(InputError, match="No default model for 'sound'"):
        default_model("sound", n, k)  # type: ignore[arg-type]


def test_a_small_table_with_gaps_is_judged() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    x = np.where(rng.random(200) < 0.2, np.nan, labels + rng.normal(0, 0.3, 200))
    found = table_features(pa.table({"x": pa.array(x, from_pandas=True), "s": rng.choice(list("ab"), 200)}), labels)
    assert out_of_fold(found.matrix, labels, 2, model=default_model("table", 200, 2)).accuracy > 0.75
