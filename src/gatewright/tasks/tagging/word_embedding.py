"""An embedding that begins with vectors of words that others have trained."""

from typing import Any

import torch
from torch import nn

from gatewright.tasks.data.texts.word_vectors import WordVectors


def begin_with(vectors: WordVectors, embedding: nn.Module) -> None:
    """Put the vectors in the rows of their words."""
    with torch.no_grad():
        weight: Any = embedding.get_parameter("weight")
        weight[torch.from_numpy(vectors.numbers)] = torch.from_numpy(vectors.values)
