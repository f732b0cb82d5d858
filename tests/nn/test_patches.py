"""Patches of steps: against the values and changes written out, and with rows that end early."""

import torch

from gatewright.model_file.patches import CHANGES, folded
from gatewright.nn.patches import Patches


def test_a_patch_is_of_values_and_their_changes() -> None:
    patches, steps = Patches(2, 5, 3), torch.randn(7, 4, 2)
    read, lengths = patches(steps)
    assert (read.shape, lengths) == ((3, 4, 5), None)
    whole = torch.cat([steps, torch.zeros(2, 4, 2)])
    for place in range(3):
        values = whole[3 * place : 3 * place + 3]
        changes = torch.cat([torch.zeros(1, 4, 2), values.diff(dim=0)])
        want = patches.bias + sum(
            part.transpose(0, 1).flatten(1) @ weight.T
            for part, weight in ((values, patches.weight), (CHANGES * changes, patches.weight_changes))
        )
        torch.testing.assert_close(read[place], want)


def test_what_lies_behind_the_end_of_a_row_does_not_count() -> None:
    patches, steps = Patches(1, 4, 4), torch.randn(10, 3, 1)
    ends = torch.tensor([10, 5, 1])
    read, lengths = patches(steps, ends)
    assert lengths.tolist() == [3, 2, 1]
    padded = steps.clone()
    for row, end in enumerate(ends.tolist()):
        padded[end:, row] = torch.nan
        alone = patches(steps[:end, row : row + 1])[0]
        torch.testing.assert_close(read[: len(alone), row], alone[:, 0])
    torch.testing.assert_close(patches(padded, ends)[0], read)


def test_the_two_matrices_are_one() -> None:
    patches = Patches(2, 5, 3)
    weight, changes = (one.detach().numpy() for one in (patches.weight, patches.weight_changes))
    torch.testing.assert_close(torch.from_numpy(folded(weight, changes, 3)), patches.folded().detach())
