"""The rows of the results: every recipe with its settings, and the published numbers beside it."""

from collections.abc import Iterator, Sequence

from tools.results.row import Goal, Row, Source

BAI = Source("Bai et al. 2018", "https://arxiv.org/abs/1803.01271")
CHUNG = Source("Chung et al. 2014", "https://arxiv.org/abs/1412.3555")
ZAREMBA = Source("Zaremba et al. 2014", "https://arxiv.org/abs/1409.2329")
FENG = Source("Feng et al. 2024", "https://arxiv.org/abs/2410.01201")
D2L = Source("Dive into Deep Learning, GRU", "https://d2l.ai/chapter_recurrent-modern/gru.html")
INDABA = Source("Deep Learning Indaba, practical 4")
THEANO = Source("Theano's LSTM tutorial", "http://deeplearning.net/tutorial/lstm.html")
NAIVE = Source("the seasonal naive forecast")
NEAREST = Source("1-nearest neighbour, Euclidean")
LINEAR = Source("a linear autoregression")
GUESS = Source("the logarithm of 8,000 words")
AIM = Source("our aim")


def _accuracy(wanted: float, source: Source, remark: str = "", part: str = "test") -> Goal:
    return Goal(f"{part} accuracy", "at least", wanted, source, remark)


def _perplexity(wanted: float, source: Source, remark: str = "", part: str = "test") -> Goal:
    return Goal(f"{part} perplexity", "at most", wanted, source, remark)


def _loss(wanted: float, source: Source, remark: str = "", part: str = "test") -> Goal:
    return Goal(f"{part} loss", "at most", wanted, source, remark)


def _forecasts(naive: float, linear: float) -> tuple[Goal, ...]:
    """Beside both baselines, whose errors every run prints."""
    return (
        Goal("test mae", "at most", linear, LINEAR, f"the seasonal naive forecast has {naive:g}"),
        Goal("test skill", "at least", 0.0, NAIVE, "0 is its error, 1 is none"),
        Goal("test mse"),
        Goal("test coverage", remark="0.8 is asked for"),
        Goal("test width", remark="of the intervals, in deviations of the training part"),
    )


BAG = Source("TF-IDF with logistic regression")


def _texts(name: str, baselines: Sequence[float]) -> Iterator[Row]:
    """A data set of labelled texts with the first seeds, beside the baseline that each run prints."""
    for seed, wanted in enumerate(baselines):
        row = f"texts-{name}" + (f"-{seed}" if seed else "")
        yield Row(row, "texts", (_accuracy(wanted, BAG),), data=name, seed=seed)


_LARGER = ("hidden=200", "dropout=0.2")  # Nottingham has 13 times the frames
_LSTM = "cell=recurrent_dropout(0.25)(lstm)"

ROWS = (
    Row("adding", "adding", (Goal("64 bits exact", "at least", 1.0, AIM, "trained on 5 bits"),)),
    Row("digits", "digits", (_accuracy(0.96, AIM),)),
    Row("images", "images", (_accuracy(0.99, AIM),)),
    Row("images-text", "images", (_accuracy(0.988, INDABA, "LSTM"),), ("preset=text",), longer=True),
    Row(
        "images-text-code",
        "images",
        (_accuracy(0.988, INDABA, "LSTM; its code sums L2 over an empty list"),),
        ("preset=text", "weight_decay=0", "patience=15"),
        longer=True,
    ),
    Row("images-pixels", "images", (_accuracy(0.962, BAI, "GRU"),), ("preset=pixels",), longer=True),
    Row(
        "images-permuted",
        "images",
        (_accuracy(0.873, BAI, "GRU"),),
        ("preset=pixels", "order=permuted"),
        longer=True,
    ),
    Row("text", "text", (_perplexity(3.0, AIM),)),
    Row("text-d2l", "text", (_perplexity(1.15, D2L, "which prints 1.1", part="train"),), ("preset=d2l",)),
    Row(
        "text-shakespeare",
        "text",
        (_loss(1.548, FENG, "minGRU, on a split of its own", part="validation"),),
        ("preset=shakespeare",),
    ),
    Row("words", "words", (_perplexity(100.0, AIM, "two layers of 200 units"),)),
    Row(
        "words-wildml-start",
        "words",
        (Goal("test loss", "near", 8.987, GUESS, "before anything is learned", within=0.1),),
        ("preset=wildml", "batch=100", "steps=10", "rate=0", "epochs=1"),
    ),
    Row("words-small", "words", (_perplexity(114.5, ZAREMBA, "LSTM"),), ("preset=small",)),
    Row("words-gru", "words", (_perplexity(114.5, ZAREMBA, "LSTM of the same size"),), ("preset=gru",)),
    Row("words-medium", "words", (_perplexity(82.7, ZAREMBA, "LSTM"),), ("preset=medium",), longer=True),
    Row("words-regularised", "words", (_perplexity(100.0, AIM),), ("preset=regularised",), longer=True),
    Row("texts", "texts", (_accuracy(0.88, AIM),)),
    Row(
        "texts-tutorial",
        "texts",
        (_accuracy(1.0, THEANO, "LSTM", part="train"), Goal("test accuracy", remark="texts of any length")),
        ("preset=tutorial",),
        longer=True,
    ),
    Row("texts-sst2", "texts", (_accuracy(0.815, AIM, "TF-IDF with logistic regression: 0.811"),), ("preset=sst2",)),
    *_texts("trec", (0.89, 0.886, 0.882)),
    *_texts("sms-spam", (0.9874, 0.9848, 0.9803)),
    *_texts("python-docstrings", (0.8505, 0.8505, 0.835)),
    Row("music", "music", (_loss(8.43, BAI, "GRU"),)),
    Row("music-lstm", "music", (_loss(8.45, BAI, "LSTM"),), (_LSTM,)),
    Row(
        "music-nottingham",
        "music",
        (_loss(3.46, BAI, "GRU"),),
        ("preset=nottingham",),
    ),
    Row(
        "music-nottingham-lstm",
        "music",
        (_loss(3.29, BAI, "LSTM"),),
        (*_LARGER, "epochs=75", "cell=recurrent_dropout(0.1)(lstm)"),
        data="nottingham",
    ),
    Row("music-chung-tanh", "music", (_loss(9.10, CHUNG, "tanh"),), ("preset=chung-tanh",), longer=True),
    Row("music-chung-gru", "music", (_loss(8.54, CHUNG, "GRU"),), ("preset=chung-gru",), longer=True),
    Row("music-chung-lstm", "music", (_loss(8.67, CHUNG, "LSTM"),), ("preset=chung-lstm",), longer=True),
    Row("speakers", "speakers", (_accuracy(0.97, AIM),)),
    Row("sequences", "sequences", (_accuracy(0.97, AIM),)),
    Row("sequences-arrowhead", "sequences", (_accuracy(0.8, NEAREST),), data="arrowhead"),
    Row("sequences-osu-leaf", "sequences", (_accuracy(0.541, NEAREST),), data="osu-leaf"),
    Row("sequences-gun-point", "sequences", (_accuracy(0.913, NEAREST),), data="gun-point"),
    Row("sequences-italy-power-demand", "sequences", (_accuracy(0.955, NEAREST),), data="italy-power-demand"),
    Row("sequences-basic-motions", "sequences", (_accuracy(0.575, NEAREST),), data="basic-motions"),
    Row("series", "series", _forecasts(0.6260, 0.2369)),
    Row("series-sunspots", "series", _forecasts(0.6314, 0.4846), ("preset=sunspots",)),
    Row("series-etth1", "series", _forecasts(0.3892, 0.3427), ("preset=etth1",)),
    Row("tagging", "tagging", (_accuracy(0.95, AIM, "parts of speech"),)),
    Row("longlag", "longlag", (_loss(5.3e-5, BAI, "GRU"),)),
    Row(
        "longlag-copy",
        "longlag",
        (
            _loss(2.01, BAI, "GRU: 0.0197 a step, were all of it of the ten symbols; guessing has 2.08"),
            Goal("test accuracy", remark="guessing has 0.125"),
        ),
        ("preset=copy",),
        longer=True,
    ),
)
