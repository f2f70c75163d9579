"""What one block may do to the means that are tested."""

import numpy as np
from fieldstream_central.detect.echoes import SHORT, Echoes


def _taken(blocks: list[list[float]], bound: float) -> Echoes:
    echoes = Echoes(2, 4)
    for block in blocks:
        echoes.take(np.array(block), np.array(block), np.full(2, bound))
    return echoes


def test_one_block_counts_for_its_bound_and_no_more() -> None:
    _, short, _, _ = _taken([[30.0, 1.0]], 6.0).sizes()
    assert np.allclose(short, [6.0 * SHORT, SHORT])


def test_blame_is_reckoned_from_the_whole_residual() -> None:
    assert np.allclose(_taken([[30.0, 1.0]], 6.0).means(1)[:, 0], [30.0 * SHORT, SHORT])


def test_what_a_mate_owes_to_the_culprit_leaves_its_bounded_mean() -> None:
    echoes = _taken([[30.0, -15.0]] * 20, 6.0)
    weights = np.zeros((2, 12))
    weights[1, 0] = 0.5  # the second follows the first
    echoes.cleanse(0, weights)
    _, short, _, _ = echoes.sizes()
    assert short[0] > 5.0
    assert short[1] < 0.01
