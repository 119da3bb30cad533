"""Which network of a file is meant, and what its classes are called."""

import pytest

from resnetkit.errors import UsageError
from resnetkit.models.class_names import class_names_in, corrected
from resnetkit.models.parts import meant, plain_names, prefixes_in, words_of


def network(prefix: str) -> list[str]:
    return [f"{prefix}{name}" for name in ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")]


@pytest.mark.parametrize(
    ("prefixes", "part", "expected"),
    [
        (["backbone."], None, "backbone."),
        (["model_ema.module.", "model."], None, "model."),
        (["net.", "state_dict."], None, "state_dict."),
        (["ema.", ""], None, ""),
        (["state_dict.module.encoder_k.", "state_dict.module.encoder_q."], None, "state_dict.module.encoder_q."),
        (["module.momentum_encoder.", "module.base_encoder."], None, "module.base_encoder."),
        (["state_dict.module.encoder_k.", "state_dict.module.encoder_q."], "encoder_k", "state_dict.module.encoder_k."),
        (
            ["student.module.backbone.", "teacher.module.backbone."],
            "teacher.module.backbone",
            "teacher.module.backbone.",
        ),
        (["model.", "ema.model."], "ema.model", "ema.model."),
    ],
)
def test_the_network_that_is_meant_is_found(prefixes: list[str], part: str | None, expected: str) -> None:
    names = [name for prefix in prefixes for name in network(prefix)]
    assert sorted(prefixes_in(names)) == sorted(prefixes)
    assert meant(prefixes_in(names), part=part, file="w.pth") == expected


@pytest.mark.parametrize(
    ("prefixes", "part", "says"),
    [
        (["student.", "teacher."], None, "w.pth: holds 2 networks, student and teacher: say which, as w.pth::student"),
        (["encoder_q.", "encoder_k.", "third."], None, "holds 3 networks, encoder_q, encoder_k and third"),
        (["student.", "teacher."], "techer", "no network in it is called 'techer'; did you mean 'teacher'"),
        (["student.", "teacher."], "x", "is called 'x': it holds student and teacher"),
        ([""], "x", "it holds one network, which has no name of its own"),
    ],
)
def test_where_it_is_not_clear_the_names_are_told(prefixes: list[str], part: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        meant(prefixes, part=part, file="w.pth")


def test_children_of_a_sequential_have_the_names_they_had() -> None:
    names = ["f.0.weight", "f.1.bias", "f.4.0.conv1.weight", "f.7.1.bn2.bias", "fc.weight"]
    assert prefixes_in(names) == ("f.",)
    assert list(plain_names(names, "f.").values()) == [
        "conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer4.1.bn2.bias",
    ]  # fmt: skip


def test_much_that_is_left_out_is_counted() -> None:
    assert words_of({}, {}) == ""
    assert words_of({"queue": (128, 9), "pointer": ()}, {}) == "queue 128x9, pointer one number"
    assert words_of({f"k{i}": (2, 2) for i in range(9)}, {}).endswith("k5 2x2, and 3 more")


@pytest.mark.parametrize(
    "found",
    [
        {"classes": ["a", "b"]},
        {"CLASSES": ("a", "b")},
        {"class_to_idx": {"b": 1, "a": 0}},
        {"idx_to_class": {1: "b", 0: "a"}},
        {"id2label": {"1": "b", "0": "a"}},
        {"hyper_parameters": {"lr": 0.1, "class_names": ["a", "b"]}},
        {"classes": 2, "meta": {"labels": ["a", "b"]}},
    ],
)
def test_class_names_are_found_however_they_are_written(found: dict[str, object]) -> None:
    assert class_names_in({"state_dict": {}, **found}) == ("a", "b")


@pytest.mark.parametrize(
    "value", [2, [], "ab", ["a", "A"], ["a", ""], {"a": 0, "b": 2}, {"a": 0, "b": 0}, {"x": "a"}, [["a"], ["b"]]]
)
def test_what_is_no_list_of_names_is_none(value: object) -> None:
    assert class_names_in({"classes": value}) == ()


def test_names_are_corrected_all_at_once() -> None:
    assert corrected(("a", "b", "c"), {"a": "b", "b": "a"}, model="m") == ("b", "a", "c")
    assert corrected(("cat", "dog"), {"cat": "Cat"}, model="m") == ("Cat", "dog")
    assert corrected(("1", "0"), {"0": "cat"}, model="m") == ("1", "cat")
    assert corrected(("\u00e9", "x"), {"e\u0301": " o\u0308"}, model="m") == ("\u00f6", "x")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"cta": "x"}, "cta=x: m has no class 'cta'; did you mean 'cat'"),
        ({"5": "x"}, "m has no class '5'; it has cat, dog, class 2"),
        ({"0": "x"}, "m has no class '0'"),
        ({"cat": "DOG"}, "'cat' and 'dog' would both be called 'dog'"),
        ({"cat": "x", "dog": "X"}, "would both be called"),
        ({"cat": " "}, "cat=: the new name is missing"),
        ({"cat": "a\nb"}, "line break"),
        ({"2": "x", "class 2": "y"}, "'class 2' gets two names"),
        ({"cat": "cat"}, "are called so already"),
        ({}, "are called so already"),
    ],
)
def test_names_that_do_not_go_are_told(names: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        corrected(("cat", "dog", "class 2"), names, model="m")
