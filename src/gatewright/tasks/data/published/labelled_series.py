"""The labelled series that Gatewright knows by name, of the archives of the UEA and UCR, as sktime keeps them."""

from gatewright.tasks.data.published.data_set import DataSet, files_at

_SKTIME = (
    "https://raw.githubusercontent.com/sktime/sktime/7bd7d1620c0656f3210eeb850bb1c0034159ee47/sktime/datasets/data"
)
_ARCHIVE = "no terms of its own: UCR Time Series Archive (Dau et al. 2018), for research; sktime's copy"


def _archived(
    name: str, about: str, folder: str, *parts: tuple[str, int, str], licence: str = _ARCHIVE, at: str = ""
) -> DataSet:
    files = files_at(f"{_SKTIME}/{folder}", *((f"{folder}_{part}.ts", size, sha256) for part, size, sha256 in parts))
    return DataSet(name=name, about=about, licence=licence, kind="labelled series", folder=at or folder, files=files)


LABELLED_SERIES = (
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
