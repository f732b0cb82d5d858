"""Scores by class are scikit-learn's, and a report comes back from what a run keeps of it."""

import io
import json

import matplotlib.image
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from gatewright.cli.results import show_classes
from gatewright.tasks.answers.class_report import ClassReport
from gatewright.tasks.answers.confusion import draw_confusion
from gatewright.tasks.formatting import picture_text
from gatewright.terminal import Terminal


def drawn(classes: int, examples: int, seed: int) -> tuple[ClassReport, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    true = random.integers(classes, size=examples)
    predicted = np.where(random.random(examples) < 0.6, true, random.integers(classes, size=examples))
    confusion = confusion_matrix(true, predicted, labels=range(classes))
    return ClassReport(tuple(f"class {place}" for place in range(classes)), confusion), true, predicted


@pytest.mark.parametrize(("classes", "examples"), [(2, 50), (5, 200), (9, 12)])
def test_scores_are_those_of_scikit_learn(classes: int, examples: int) -> None:
    report, true, predicted = drawn(classes, examples, seed=classes)
    expected = precision_recall_fscore_support(true, predicted, labels=range(classes), zero_division=0)
    got = [[scores[name] for scores in report.scores.values()] for name in ("precision", "recall", "f1", "examples")]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert report.macro["f1"] == pytest.approx(f1_score(true, predicted, average="macro"), rel=1e-12)


def test_what_a_class_is_taken_for() -> None:
    report = ClassReport(("a", "b", "c"), np.array([[5, 1, 3], [0, 4, 0], [2, 0, 7]]))
    assert [report.mistaken_for(name) for name in "abc"] == [("c", 3), ("", 0), ("a", 2)]
    assert report.scores["b"] == {"precision": 0.8, "recall": 1.0, "f1": pytest.approx(8 / 9), "examples": 4}


def test_a_report_comes_back_from_json() -> None:
    report, _, _ = drawn(4, 30, seed=1)
    back = ClassReport.restored(json.loads(json.dumps(report.kept())))
    assert back.classes == report.classes
    np.testing.assert_array_equal(back.confusion, report.confusion)
    assert report.kept()["macro"] == back.macro


def test_a_part_without_a_class_has_no_score_that_is_not_a_number() -> None:
    report = ClassReport(("a", "b"), np.array([[3, 0], [0, 0]]))
    assert report.scores["b"] == {"precision": 0, "recall": 0, "f1": 0, "examples": 0}
    assert report.macro["f1"] == 1.0  # of the classes that are there


def shown(report: ClassReport, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show_classes(Terminal(width=80), report, "test")
    return capsys.readouterr().out.splitlines()


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    report = ClassReport(("good", "bad"), np.array([[8, 2], [0, 10]]))
    assert [line.split() for line in shown(report, capsys)] == [
        ["test", "precision", "recall", "F1", "examples", "most", "often", "taken", "for"],
        ["good", "1", "0.8", "0.8889", "10", "bad", "(2)"],
        ["bad", "0.8333", "1", "0.9091", "10"],
        ["macro", "average", "0.9167", "0.9", "0.899", "20"],
    ]


def test_many_classes_with_long_names_fit_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    report, _, _ = drawn(40, 4000, seed=2)
    names = tuple(f"{'a very long name of a class ' * 2}{place}" for place in range(40))
    lines = shown(ClassReport(names, report.confusion), capsys)
    assert max(map(len, lines)) <= 80
    assert len(lines) == 13
    assert lines[-1] == "shown are the 10 classes of 40 with the lowest F1"
    figures = [float(line[22:].split()[2]) for line in lines[1:11]]
    assert figures == sorted(figures)


@pytest.mark.parametrize("classes", [2, 10, 60])
def test_the_picture(classes: int) -> None:
    report, _, _ = drawn(classes, 500, seed=3)
    pixels = matplotlib.image.imread(io.BytesIO(draw_confusion(report, "digits: gru\ntest")))
    assert min(pixels.shape[:2]) > 300
    blue = pixels[..., 2] - pixels[..., 0]
    assert blue.max() > 0.4  # the diagonal
    assert draw_confusion(report, "$x_", ".svg").startswith(b"<?xml")


def test_names_that_would_steer_a_terminal_are_drawn_as_text() -> None:
    """A letter without a picture is a warning of Matplotlib, which holds the letter."""
    report = ClassReport(("\x1b[31mred", "tab\t$x_$\n\x9b"), np.eye(2, dtype=np.int64))
    assert draw_confusion(report, "title").startswith(b"\x89PNG")
    assert picture_text(report.classes[1]) == r"tab \$x_\$ \x9b"
