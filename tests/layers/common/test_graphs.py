from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.layers.common.graphs import components, joined_pairs, spanning_forest


def merge(nodes: int, edges: np.ndarray) -> list[tuple[int, set[int], set[int]]]:
    """Add edges one by one; return those that connect two sets of nodes, with the sets."""
    sets = [{i} for i in range(nodes)]
    joins = []
    for i, (a, b) in enumerate(edges.tolist()):
        if sets[a] is not sets[b]:
            joins.append((i, set(sets[a]), set(sets[b])))
            both = sets[a] | sets[b]
            for node in both:
                sets[node] = both
    return joins


@pytest.mark.parametrize("seed", range(5))
def test_against_edges_added_one_by_one(seed) -> None:
    rng = np.random.default_rng(seed)
    nodes, labels = 40, rng.integers(0, 4, 40)
    edges = rng.integers(0, nodes, (20 + 20 * seed, 2))
    u, v = edges.T
    joins = merge(nodes, edges)
    forest = spanning_forest(nodes, u, v)
    assert forest.tolist() == [i for i, _, _ in joins]
    group = list(range(nodes))
    for _, a, b in joins:
        for node in a | b:
            group[node] = min(a | b)
    assert components(nodes, u, v).tolist() == group
    same, different = joined_pairs(u[forest], v[forest], labels)
    for k, (_, a, b) in enumerate(joins):
        pairs = [(labels[i], labels[j]) for i in a for j in b if labels[i] and labels[j]]
        assert same[k] == sum(p == q for p, q in pairs)
        assert different[k] == sum(p != q for p, q in pairs)


def test_a_long_path_and_no_edges() -> None:
    path = np.random.default_rng(0).permutation(2000)
    assert not components(2000, path[:-1], path[1:]).any()
    assert len(spanning_forest(2000, path[:-1], path[1:])) == 1999
    nothing = np.empty(0, np.int64)
    assert components(3, nothing, nothing).tolist() == [0, 1, 2]
    assert len(spanning_forest(3, nothing, nothing)) == 0
