"""Which images count as having walked."""

import torch

from copyfold.studies.toolkit.walks import walked


def test_images_that_moved_far_or_changed_neighbour_have_walked():
    data = torch.stack([torch.full((1, 4, 4), v) for v in (0.0, 0.4, 0.8)])
    first = data.clone()
    last = torch.stack([torch.full((1, 4, 4), v) for v in (0.15, 0.55, 0.4)])
    torch.testing.assert_close(walked(first, last, data), torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(walked(first[:1], first[:1] - 0.3, data), torch.ones(1))  # far, though alone
