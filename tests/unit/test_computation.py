"""The graph of a VAE agrees with what a VAE computes, and is legible."""

from itertools import combinations

import torch

import copyfold as cf
from copyfold.pictures.computation import EDGES, GIVEN, elbo_graph, gradients, nodes


def below(found, start, edges):
    """All that is reached from a node along edges."""
    for a, b in edges:
        if a == start and b not in found:
            found.add(b)
            below(found, b, edges)
    return found


def test_everything_but_what_is_given_is_computed_and_ends_in_the_loss():
    names = set(nodes(20))
    assert {name for edge in EDGES for name in edge} == names
    assert names - {made for _, made in EDGES} == set(GIVEN)
    for name in names - {"loss"}:
        assert "loss" in below(set(), name, EDGES)


def test_the_gradient_reaches_encoder_and_decoder_as_it_does_in_a_model():
    reached = below(set(), "loss", gradients())
    assert reached == set(nodes(20)) - {"loss", *GIVEN}
    model, x = cf.Variational(cf.MLP((1, 8, 8), [9], 6), 3), torch.rand(4, 1, 8, 8)
    sum(cf.Classical(penalties=[cf.Divergence()])(model, x).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_boxes_do_not_overlap_and_name_the_size_of_the_code():
    figure = elbo_graph(37, "A title")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.axes[0].texts if t.get_bbox_patch() is not None]
    assert len(texts) == len(nodes(1))
    boxes = [t.get_bbox_patch().get_window_extent(renderer) for t in texts]
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    width, height = figure.get_size_inches() * figure.dpi
    assert all(0 < b.x0 < b.x1 < width and 0 < b.y0 < b.y1 < height for b in boxes)
    assert sum("37 numbers" in t.get_text() for t in texts) == 2
