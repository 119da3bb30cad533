import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, log_loss, precision_score, recall_score

from resnetkit.evaluation.label_thresholds import cross_fitted_answers, fit_thresholds
from resnetkit.evaluation.labels import by_chance, headline, label_metrics, map_of
from resnetkit.models.thresholds import Thresholds

CLASSES = ("a", "b", "c")
NAN = np.nan


def simulated(count: int, *, seed: int = 0, sep: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = (generator.random((count, 3)) < [0.5, 0.3, 0.15]).astype(np.float32)
    return 1 / (1 + np.exp(-(sep * (targets - 0.5) + generator.normal(size=targets.shape)))), targets


def metrics_of(probabilities: np.ndarray, targets: np.ndarray, **how: object) -> dict:
    how = {"split": "test", "groups": None, "answers": probabilities >= 0.5} | how
    return label_metrics(probabilities, targets, thresholds=Thresholds(), classes=CLASSES, **how)  # type: ignore[arg-type]


def test_figures_are_those_of_scikit_learn() -> None:
    p, t = simulated(200)
    found, said = metrics_of(p, t), p >= 0.5
    assert found["map"] == pytest.approx(average_precision_score(t, p, average="macro"))
    assert found["macro_f1"] == pytest.approx(f1_score(t, said, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(t, said, average="micro"))
    assert found["hamming"] == pytest.approx(hamming_loss(t, said))
    assert found["exact_match"] == pytest.approx((said == (t == 1)).all(1).mean())
    assert found["loss"] == pytest.approx(np.mean([log_loss(t[:, k], p[:, k]) for k in range(3)]))
    for k, one in enumerate(found["per_class"]):
        assert one["precision"] == pytest.approx(precision_score(t[:, k], said[:, k]))
        assert one["recall"] == pytest.approx(recall_score(t[:, k], said[:, k]))
        for name in ("ap", "precision", "recall"):
            low, high = one[f"{name}_interval"]
            assert 0 <= low < one[name] < high <= 1


def test_equal_probabilities_count_together() -> None:
    p = np.array([[0.5], [0.5], [0.5], [0.1]])
    t = np.array([[1], [0], [0], [1]], np.float32)
    assert map_of(p, t) == pytest.approx(average_precision_score(t, p))


def test_what_is_not_known_counts_nowhere() -> None:
    p, t = simulated(60)
    t[::3, 0] = NAN
    known = np.isfinite(t[:, 0])
    found = metrics_of(p, t)
    assert found["per_class"][0]["ap"] == pytest.approx(average_precision_score(t[known, 0], p[known, 0]))
    assert found["per_class"][0]["known"] == known.sum()
    wild = p.copy()
    wild[~known, 0] = 1 - wild[~known, 0]
    same = metrics_of(wild, t)
    for name in ("map", "exact_match", "hamming", "micro_f1", "macro_f1", "loss", "together"):
        assert same[name] == found[name]


def test_a_label_that_no_picture_has_is_named_and_left_out() -> None:
    p, t = simulated(60)
    t[:, 1] = 0
    found = metrics_of(p, t)
    assert found["left_out"] == ["b"]
    assert found["per_class"][1]["ap"] is found["per_class"][1]["ap_interval"] is None
    assert found["map"] == pytest.approx(np.mean([average_precision_score(t[:, k], p[:, k]) for k in (0, 2)]))
    assert "Left out of the means" in headline(found)
    nothing = metrics_of(p, np.zeros_like(t))
    assert nothing["map"] is nothing["map_interval"] is nothing["chance_map"] is None


def test_noise_gets_what_is_said_of_it() -> None:
    generator = np.random.default_rng(0)
    true = np.zeros((40, 1), np.float32)
    true[:6] = 1
    drawn = [map_of(generator.random((40, 1)), true) for _ in range(1000)]
    assert by_chance(6, 40) == pytest.approx(np.mean(drawn), abs=0.01)


def test_the_interval_of_noise_holds_chance() -> None:
    held = 0
    for seed in range(40):
        _, t = simulated(150, seed=seed)
        found = metrics_of(np.random.default_rng(1000 + seed).random(t.shape), t)
        low, high = found["map_interval"]
        held += low <= np.mean([0.5, 0.3, 0.15]) <= high
    assert held >= 35


def test_a_perfect_ranking_is_not_beyond_doubt() -> None:
    t = np.zeros((40, 1), np.float32)
    t[:8] = 1
    found = label_metrics(
        0.1 + 0.8 * t, t, answers=t == 1, thresholds=Thresholds(), classes=["a"], split="test", groups=None
    )
    assert found["map"] == 1
    assert found["map_interval"] == [pytest.approx(0.6306, abs=1e-4), 1.0]
    few = label_metrics(
        0.1 + 0.8 * t[5:], t[5:], answers=t[5:] == 1, thresholds=Thresholds(), classes=["a"], split="test", groups=None
    )
    assert few["map_interval"] is None


def test_pictures_of_a_group_say_less() -> None:
    p, t = simulated(60)
    p, t = np.repeat(p, 5, axis=0), np.repeat(t, 5, axis=0)
    groups = [f"{number // 5}" for number in range(300)]
    alone, together = (metrics_of(p, t, groups=given)["map_interval"] for given in (None, groups))
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_labels_that_come_together_are_counted() -> None:
    t = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, NAN]], np.float32)
    found = metrics_of(np.array([[0.9, 0.9, 0.1]] * 4), t)
    assert found["together"] == [[3, 2, 0], [2, 3, 1], [0, 1, 1]]
    assert found["together_answered"] == [[4, 4, 0], [4, 4, 0], [0, 0, 0]]


@pytest.mark.parametrize(("goal", "name"), [("precision 0.8", "precision"), ("recall 0.8", "recall")])
def test_what_was_asked_for_is_held_on_new_pictures(goal: str, name: str) -> None:
    reached = []
    for seed in range(15):
        p, t = simulated(400, seed=seed, sep=2.5)
        fitted = fit_thresholds(p, t, classes=CLASSES, goal=goal)
        new_p, new_t = simulated(4000, seed=1000 + seed, sep=2.5)
        found = metrics_of(new_p, new_t, answers=fitted.answers(new_p), split="folds")  # which has no intervals
        reached += [
            one[name] for one, label in zip(found["per_class"], CLASSES, strict=True) if label not in fitted.unmet
        ]
    assert np.mean(reached) >= 0.8
    assert np.mean(np.array(reached) < 0.78) <= 0.1
    assert np.mean(reached) <= 0.87  # and not by saying next to nothing


def test_what_cannot_be_reached_is_named() -> None:
    generator = np.random.default_rng(0)
    _, t = simulated(200)
    t[:, 2] = 0
    fitted = fit_thresholds(generator.random(t.shape), t, classes=CLASSES, goal="precision 0.95")
    assert fitted.unmet == CLASSES
    assert fitted.at[2] == 0.5
    assert fit_thresholds(generator.random(t.shape), t, classes=CLASSES).unmet == ("c",)


def test_thresholds_for_f1_beat_a_half_on_new_pictures() -> None:
    gained = []
    for seed in range(10):
        (p, t), (new_p, new_t) = simulated(300, seed=seed), simulated(3000, seed=100 + seed)
        p, new_p = p**2, new_p**2  # a model that is less sure than it might be
        fitted = fit_thresholds(p, t, classes=CLASSES)
        own, half = (
            metrics_of(new_p, new_t, answers=said, split="folds")["macro_f1"]
            for said in (fitted.answers(new_p), new_p >= 0.5)
        )
        gained.append(own - half)
    assert np.mean(gained) > 0.03


def test_pictures_are_judged_by_what_others_fit() -> None:
    generator = np.random.default_rng(0)
    p, t = generator.random((40, 1)), (generator.random((40, 1)) < 0.3).astype(np.float32)
    said = cross_fitted_answers(p, t, None, "f1")
    changed = t.copy()
    changed[0] = 1 - changed[0]
    assert (cross_fitted_answers(p, changed, None, "f1")[0] == said[0]).all()


def test_the_interval_of_a_good_model_is_no_wider_than_its_pictures_leave_it() -> None:
    for seed in range(5):
        p, t = simulated(200, seed=seed, sep=6.0)
        found = metrics_of(p, t)
        assert found["map"] > 0.9
        low, high = found["map_interval"]
        assert low > 0.75
        assert found["map"] <= high <= 1


def test_pictures_of_which_nothing_is_known_are_neither_right_nor_wrong() -> None:
    t = np.array([[1, 0, 0], [1, 0, 0], [NAN] * 3, [NAN] * 3], np.float32)
    p = np.array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.1], [0.9] * 3, [0.1] * 3])
    found = metrics_of(p, t, groups=["a", "b", "c", "c"])
    assert found["exact_match"] == 0.5
    assert metrics_of(p[2:], t[2:])["exact_match"] is None


def test_a_recall_that_cannot_be_promised_is_no_label_for_everything() -> None:
    generator = np.random.default_rng(0)
    t = np.zeros((500, 3), np.float32)
    t[:5] = 1
    p = 1 / (1 + np.exp(-(4 * t - 2 + generator.normal(size=t.shape))))
    fitted = fit_thresholds(p, t, classes=CLASSES, goal="recall 0.9")
    assert fitted.unmet == CLASSES
    said = fitted.answers(p)
    assert said[:5].all()
    assert said.sum(axis=0).max() < 100


def test_rare_labels_share_a_threshold_for_f1() -> None:
    p, t = simulated(60)
    t[3:, 1:] = 0
    t[:3, 1:] = 1
    found = fit_thresholds(p, t, classes=CLASSES)
    rare = fit_thresholds(p[:, 1:].reshape(-1, 1), t[:, 1:].reshape(-1, 1), classes=["b or c"])
    assert found.of(3)[1] == found.of(3)[2] == rare.of(1)[0] != 0.5
    assert found.of(3)[0] == fit_thresholds(p[:, :1], t[:, :1], classes=["a"]).of(1)[0]
    t[2:, 1:] = 0
    assert fit_thresholds(p, t, classes=CLASSES).of(3)[1:].tolist() == [0.5, 0.5]  # four in all
    t[:, 2] = np.where(np.arange(60) < 4, NAN, 0)
    t[:4, 1] = 1
    alone = fit_thresholds(p, t, classes=CLASSES).of(3)[1]
    assert alone == 0.5  # what is not known of c is no picture with it


def test_labels_without_a_picture_take_no_part_in_what_rare_ones_share() -> None:
    p, t = simulated(60)
    t[3:, 1] = t[:, 2] = 0
    t[:3, 1] = 1
    found = fit_thresholds(p, t, classes=CLASSES)
    assert found.at[1:] == (0.5, 0.5)  # three in all
    t[:4, 0] = 1
    t[4:, 0] = 0
    with_c, without = (fit_thresholds(p[:, :k], t[:, :k], classes=CLASSES[:k]).at for k in (3, 2))
    assert with_c == (*without, 0.5)
    assert with_c[0] == with_c[1] != 0.5
