"""A model of characters writes: only characters, the same for the same seed, and as likely as it can."""

import math

import pytest
import torch

from gatewright.errors import OptionError
from gatewright.tasks.data.texts.vocabulary import UNKNOWN
from gatewright.tasks.language.generator import TextGenerator
from gatewright.tasks.model import Model
from gatewright.tasks.recipes.digits import Digits
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.run_data import Sizes

LETTERS = "abc "


@pytest.fixture(params=["gru", "lstm"])  # one state, and two
def model(request: pytest.FixtureRequest) -> Model:
    made = Text(cell=request.param, hidden=12, layers=2, init="normal(1.0)", output_init="normal(1.0)")
    sizes = Sizes(5, 5, (UNKNOWN, *LETTERS))
    network = made.network(sizes, made.cell)
    network.output.bias.data[0] = 20.0  # the symbol for the unknown is by far the most probable
    return Model(made, sizes, network)


def log_probability(model: Model, prompt: str, text: str) -> float:
    symbols = torch.tensor([1 + LETTERS.index(one) for one in prompt + text])
    with torch.no_grad():
        outputs, _ = model.network(symbols[:-1, None])
    each = torch.log_softmax(outputs[:, 0].double(), -1)[range(len(symbols) - 1), symbols[1:]]
    return each[len(prompt) - 1 :].sum().item()


def test_only_characters_are_written(model: Model) -> None:
    text = "".join(TextGenerator(model).stream("ab", length=200))
    assert len(text) == 200
    assert set(text) <= set(LETTERS)


def test_a_prompt_may_hold_what_the_model_never_saw(model: Model) -> None:
    writer = TextGenerator(model)
    assert writer.unknown("Ωa?Ω") == ("Ω", "?")
    assert len("".join(writer.stream("Ωa?", length=3))) == 3
    for write in (lambda: writer.stream("Ω?", length=3), lambda: writer.search("Ω?", length=3, beams=2)):
        with pytest.raises(OptionError) as caught:
            write()
        assert str(caught.value) == (
            "the model knows nothing of the prompt\n"
            "  expected: characters or words of the text that it was trained on\n  got: 'Ω?'\n"
            "  do: give another prompt, or none for one of that text"
        )


def test_the_seed_decides(model: Model) -> None:
    first, again, other = ("".join(TextGenerator(model).stream("a", length=60, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_dropout_is_off(model: Model) -> None:
    model.network.train()
    model.network.dropout.p = 0.9
    texts = {"".join(TextGenerator(model).stream("a", length=20, temperature=0.0)) for _ in range(3)}
    assert len(texts) == 1


def test_beams_find_what_is_likelier(model: Model) -> None:
    writer = TextGenerator(model)
    greedy = "".join(writer.stream("ab", length=4, temperature=0.0))
    searched = writer.search("ab", length=4, beams=4**4)
    assert writer.search("ab", length=4, beams=1) == greedy
    found = {one: log_probability(model, "ab", one) for one in (greedy, searched)}
    every = [a + b + c + d for a in LETTERS for b in LETTERS for c in LETTERS for d in LETTERS]
    assert math.isclose(found[searched], max(log_probability(model, "ab", one) for one in every), rel_tol=1e-9)
    assert found[searched] >= found[greedy]


def test_a_model_without_characters() -> None:
    made = Digits(hidden=4)
    sizes = Sizes(8, 10)
    with pytest.raises(OptionError) as caught:
        TextGenerator(Model(made, sizes, made.network(sizes, "gru")))
    assert str(caught.value) == (
        "a model of the recipe 'digits' generates no text\n  expected: a model of the recipe 'text' or 'words'"
    )
