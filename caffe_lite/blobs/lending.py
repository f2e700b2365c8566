"""Lending: the NumPy arrays that users hold of a blob, kept current by every pass (original: syncedmem.cpp)."""

from __future__ import annotations

import numpy as np

from ..ops.array import Array
from .blob import Blob
from .later import Later
from .loans import CopiedLoan, Loan, SharedLoan


def lend(blob: Blob) -> np.ndarray:
    """Return ``blob.data`` as a NumPy array that the user may write into.

    While they hold it or anything derived from it, a slice or a transpose, it shows the results of every pass.
    """
    source = blob.source
    source.times_lent += 1
    if not data_is_held(source):
        source.data_loan = _loan(source, source.data)
    return _view(blob, source.data_loan)


def lend_diff(blob: Blob) -> np.ndarray:
    """Return ``blob.diff`` as a NumPy array in row-major order; otherwise as ``lend``.

    Layers may bind one gradient to several blobs. The array lent belongs to this blob alone, unless it
    ``diff_is_shared``.
    """
    source = blob.source
    if not diff_is_held(source):
        if source.has_diff and not source.diff_is_shared:
            bound, rows = source.diff, source.ops.row_major(source.diff)
            source.diff = source.ops.copy(rows) if rows is bound else rows
        source.diff_loan = _loan(source, source.diff)
    return _view(blob, source.diff_loan)


def data_is_held(blob: Blob) -> bool:
    """Return whether a user holds an array of ``blob.data``."""
    loan = blob.source.data_loan
    return loan is not None and loan.held


def diff_is_held(blob: Blob) -> bool:
    """Return whether a user holds an array of ``blob.diff``."""
    loan = blob.source.diff_loan
    return loan is not None and loan.held


def refresh(blob: Blob) -> None:
    """Copy the blob's newest values into the arrays that users hold, and bind that memory to the blob."""
    source = blob.source
    if (loan := source.data_loan) is not None and loan.held and not loan.stands_for(source.bound[0]):
        held = loan.refresh(source.data)
        source.exchange(held, source.bound[1])
    if (loan := source.diff_loan) is not None and loan.held and not loan.stands_for(source.bound[1]):
        held = loan.refresh(source.diff)
        source.exchange(source.bound[0], held)


def write_back(blob: Blob) -> None:
    """Write into the engine's arrays what users wrote into copies of them: another blob may share such an array."""
    for bound in blob.source.bound:
        if isinstance(bound, Later) and bound.lasts:
            bound.compute()


def _view(blob: Blob, loan: Loan | None) -> np.ndarray:
    assert loan is not None
    view = loan.view()
    refresh(blob)
    return view if blob.source is blob else view.reshape(blob.shape)


def _loan(blob: Blob, array: Array) -> Loan:
    try:
        return (SharedLoan if blob.ops.shares_memory else CopiedLoan)(blob.ops, array)
    except MemoryError as error:
        raise blob.too_large() from error
