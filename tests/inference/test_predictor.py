import subprocess
import sys
import threading
import time
import unicodedata
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.sources import open_pictures
from resnetkit.errors import DataError, UsageError
from resnetkit.inference.predictor import Prediction
from resnetkit.models.decision import Decision
from tests.fakes import OneByOne

KEYS = ["source", "status", "label", "probability", "top", "warnings", "error"]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_predict_raises_for_what_cannot_be_one_answer(predictor, paint, tmp_path):
    broken = paint("broken.jpg", size=(64, 64))
    truncate(broken)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        predictor.predict(broken)
    with pytest.raises(UsageError, match=r"missing\.jpg"):
        predictor.predict(tmp_path / "missing.jpg")
    paint("fine.jpg")
    with pytest.raises(UsageError, match="predict_many"):
        predictor.predict(tmp_path)


def test_many_pictures_come_in_order_whatever_the_batch_and_the_threads(predictor, paint, tmp_path):
    colours = [("red", "green", "blue")[i * i % 3] for i in range(23)]
    for number, colour in enumerate(colours):
        paint(f"photos/{number:02}.png", colour)
    pictures = open_pictures(str(tmp_path / "photos"))
    expected = list(predictor.predict_many(pictures, batch_size=1, threads=1))
    assert [prediction.label for prediction in expected] == colours
    assert [prediction.source for prediction in expected] == [item.source for item in pictures.items]
    for batch_size, threads in ((4, 2), (23, 2), (64, 1), (None, None)):
        assert list(predictor.predict_many(pictures, batch_size=batch_size, threads=threads)) == expected


def test_one_bad_file_is_an_error_and_the_rest_finish(predictor, paint, tmp_path):
    for number in range(7):
        paint(f"photos/{number}.jpg", "green", size=(64, 64))
    truncate(tmp_path / "photos/3.jpg")
    (tmp_path / "photos/5.jpg").write_text("no picture\nat all")
    predictions = list(predictor.predict_many(open_pictures(str(tmp_path / "photos")), batch_size=3))
    assert [prediction.status for prediction in predictions] == ["ok", "ok", "ok", "error", "ok", "error", "ok"]
    for bad in (predictions[3], predictions[5]):
        assert bad.label is None
        assert bad.probability is None
        assert bad.top == ()
        assert bad.source in bad.error
        assert "\n" not in bad.error


def test_a_whole_batch_of_bad_files_needs_no_network(predictor, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("no picture")
    assert [p.status for p in predictor.predict_many(open_pictures(str(tmp_path)), batch_size=2)] == ["error"] * 3
    assert predictor.engine.batches == []


def test_members_of_an_archive_are_named_by_archive_and_member(predictor, paint, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(paint("a.png", "red"), "day/a.png")
        archive.write(paint("b.png", "blue"), "day/b.png")
    predictions = list(predictor.predict_many(open_pictures(str(tmp_path / "photos.zip"))))
    assert [(p.source, p.label) for p in predictions] == [
        (f"{tmp_path}/photos.zip::day/a.png", "red"),
        (f"{tmp_path}/photos.zip::day/b.png", "blue"),
    ]


def test_top_k_is_cut_to_the_classes_there_are_and_sorted(predictor, paint):
    path = paint("orange.png", (255, 128, 0))
    assert [label for label, _ in predictor.predict(path).top] == ["red", "green", "blue"]
    assert [label for label, _ in predictor.predict(path, top_k=2).top] == ["red", "green"]
    probabilities = [probability for _, probability in predictor.predict(path).top]
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert probabilities == sorted(probabilities, reverse=True)
    with pytest.raises(UsageError, match="at least 1"):
        predictor.predict_many(open_pictures(str(path)), top_k=0)
    for top_k in (0, -1):
        with pytest.raises(UsageError, match=f"top_k must be at least 1, not {top_k}"):
            predictor.predict(path, top_k=top_k)


def test_counts_are_whole_numbers_and_of_no_pictures_there_are_no_answers(predictor, paint):
    for wrong in ("3", 2.5):
        for ask in (predictor.predict, predictor.predict_many):
            with pytest.raises(UsageError, match="top_k must be a whole number"):
                ask(paint("a.png"), top_k=wrong)
    assert list(predictor.predict_many([])) == list(predictor.predict_many(iter(()))) == []


def test_below_the_threshold_the_best_guess_stays_visible(predictor, paint):
    careful = replace(predictor, decision=Decision(threshold=0.9))
    unsure = careful.predict(paint("yellow.png", (255, 255, 0)))
    assert (unsure.status, unsure.label) == ("not_sure", "red")
    assert careful.predict(paint("red.png", "red")).status == "ok"


def test_outputs_that_are_not_finite_become_errors_not_answers(predictor, paint):
    class Diverged(OneByOne):
        def logits(self, pixels):
            return np.full((len(pixels), 3), np.nan, np.float32)

    pictures = open_pictures(str(paint("a.png")))
    [prediction] = replace(predictor, engine=Diverged()).predict_many(pictures)
    assert prediction.status == "error"
    assert "not finite" in prediction.error


def test_class_names_of_any_script_come_through(predictor, paint):
    classes = tuple(unicodedata.normalize("NFC", name) for name in ("개미", "דבורה", "café"))
    assert replace(predictor, classes=classes).predict(paint("a.png", "green")).label == "דבורה"


def test_a_prediction_has_every_key_and_survives_its_json(predictor, paint):
    answer = predictor.predict(paint("a.png"))
    assert list(answer.to_json()) == KEYS
    assert Prediction.from_json(answer.to_json()).to_json() == answer.to_json()
    error = Prediction(source="b.png", status="error", error="b.png: empty")
    assert list(error.to_json()) == KEYS
    assert Prediction.from_json(error.to_json()) == error


def test_a_prediction_shows_itself(predictor, paint):
    answer = replace(predictor.predict(paint("a.png", "red")), source="a<b>.png")
    assert repr(answer).startswith("Prediction('a<b>.png': red 100.0 %")
    assert "a&lt;b&gt;.png" in answer._repr_html_()
    assert 'dir="auto"' in answer._repr_html_()
    assert "not sure: red" in repr(replace(answer, status="not_sure"))


class Counting:
    """A reader of pictures that counts how many were opened and not yet answered."""

    def __init__(self, *, seconds=0.0):
        self.lock = threading.Lock()
        self.opened, self.seconds = 0, seconds

    def read(self, key):
        with self.lock:
            self.opened += 1
        time.sleep(self.seconds)
        return np.full((8, 8, 3), (0, 0, 255), np.uint8)

    def pictures(self, count):
        items = tuple(Item(f"{number}.png") for number in range(count))
        return Dataset(name="counted", items=items, origins={item.source: (self, "") for item in items})


def test_decoding_looks_ahead_but_never_further_than_three_batches(predictor):
    pictures = Counting()
    answered = most = 0
    for _ in predictor.predict_many(pictures.pictures(200), batch_size=4, threads=2):
        if answered % 4 == 0:
            time.sleep(0.002)  # lets the threads run as far ahead as they may
        most = max(most, pictures.opened - answered)
        answered += 1
    assert answered == 200
    # One batch in hand and two ahead of it.
    assert 4 < most <= 12


def assert_no_thread_decodes() -> None:
    """Fail where threads wait for more to decode; those that have just been told to end may take a moment."""
    for thread in threading.enumerate():
        if thread.name.startswith("decode"):
            thread.join(timeout=5)
            assert not thread.is_alive()


def test_stopping_early_stops_the_decoding(predictor):
    pictures = Counting(seconds=0.002)
    stream = predictor.predict_many(pictures.pictures(500), batch_size=20, threads=2)
    next(stream)
    stream.close()
    # One batch was needed; of the two ahead only what was being decoded is finished.
    assert 20 <= pictures.opened < 30
    assert_no_thread_decodes()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # any import of torch fails
import numpy as np
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_pictures
from resnetkit.inference import engines, output, predictor, sorting

class Engine:
    batch_size, ahead = 4, 0
    def logits(self, pixels):
        return pixels.mean(axis=(1, 2)) / 25.5

ready = predictor.Predictor(Engine(), classes=("red", "green", "blue"), preprocess=Preprocess.for_size(8))
with output.to_stream(sys.stdout, format="csv", top_k=1) as write:
    for prediction in ready.predict_many(open_pictures(sys.argv[1])):
        write(prediction)
"""


def test_prediction_needs_no_torch(paint):
    path = paint("a.png", "blue")
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(path)], capture_output=True, text=True)
    assert done.stderr == ""
    assert ",ok,blue,0.9999" in done.stdout
