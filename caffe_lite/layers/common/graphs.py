"""Graphs of numbered nodes, with edges as two arrays of their ends: connected components, spanning forests."""

from __future__ import annotations

import numpy as np


def components(nodes: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return, for each node, the smallest node that edges connect it with."""
    smallest = np.arange(nodes)
    while len(u):
        low, high = np.minimum(u, v), np.maximum(u, v)
        np.minimum.at(smallest, high, low)
        while not np.array_equal(smallest, further := smallest[smallest]):
            smallest = further
        u, v = smallest[low], smallest[high]
        apart = u != v
        u, v = u[apart], v[apart]
    return smallest


def spanning_forest(nodes: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the edges, ascending, that connect something new if edges are added one by one, in their order.

    Source: Borůvka 1926, so that whole arrays are compared at a time.
    """
    tree, found = np.arange(nodes), [np.empty(0, np.int64)]
    edge = np.arange(len(u))
    while True:
        a, b = tree[u[edge]], tree[v[edge]]
        apart = a != b
        edge, a, b = edge[apart], a[apart], b[apart]
        if not len(edge):
            return np.sort(np.concatenate(found))
        first = np.full(nodes, len(u))
        np.minimum.at(first, a, edge)
        np.minimum.at(first, b, edge)
        chosen = np.unique(first[first < len(u)])
        found.append(chosen)
        tree = components(nodes, tree[u[chosen]], tree[v[chosen]])[tree]


def joined_pairs(u: np.ndarray, v: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pairs of nodes each edge of a forest connects, the edges being added in their order.

    First the pairs of equal labels, then those of different ones. Nodes with the label 0 do not count.
    """
    nothing: dict[int, int] = {}
    counts = [{label: 1} if label else nothing for label in labels.tolist()]  # of each label, by the tree's root
    parent, sizes = list(range(len(counts))), [len(count) for count in counts]
    same, every = [], []
    for a, b in zip(u.tolist(), v.tolist(), strict=True):
        while parent[a] != a:
            parent[a] = a = parent[parent[a]]
        while parent[b] != b:
            parent[b] = b = parent[parent[b]]
        if len(counts[a]) < len(counts[b]):
            a, b = b, a
        mine, pairs = counts[a], 0
        for label, count in counts[b].items():
            known = mine.get(label, 0)
            pairs += known * count
            mine[label] = known + count
        same.append(pairs)
        every.append(sizes[a] * sizes[b])
        parent[b], counts[b] = a, nothing
        sizes[a] += sizes[b]
    return np.array(same, float), np.array(every, float) - same
