"""How each operator is written in layers, by the kind of operator; importing this fills the table of spellings."""

from . import (  # noqa: F401
    activations,
    arithmetic,
    arrangement,
    normalisation,
    pooling,
    products,
    recurrent,
    reduction,
    resizing,
)
