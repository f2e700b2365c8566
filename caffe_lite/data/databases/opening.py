"""Finding a database and opening it with the right backend."""

from __future__ import annotations

import os

import numpy as np

from ...errors import DataError, Where
from ...logs.log import logger
from ...proto import caffe_pb2
from ..paths import resolve, searched
from .database import Database
from .leveldb import LevelDB
from .lmdb import LMDB
from .shuffled import ShuffledDatabase


def open_database(source: str, backend: int, where: Where | None = None) -> Database:
    """Open the database at ``source``, which ``resolve`` finds, at its first record."""
    path = resolve(source, where)
    if not os.path.exists(path):
        raise DataError(
            f"there is no database {source!r}: looked for {searched(source, where)}",
            hint="Put it there, or correct the " + ("path" if where is None else "source in data_param"),
        )
    is_lmdb = os.path.isfile(path) or os.path.isfile(os.path.join(path, "data.mdb"))
    is_leveldb = os.path.isfile(os.path.join(path, "CURRENT"))
    database: Database
    if backend == caffe_pb2.DataParameter.LMDB:
        if not is_lmdb:
            raise DataError(
                f"{path!r} is not an LMDB: it is not a folder with a file data.mdb in it",
                hint="It is a LevelDB: write `backend: LEVELDB` in data_param, or --backend=leveldb"
                if is_leveldb
                else "Give the folder that holds data.mdb",
            )
        database = LMDB(path)
    else:
        if not is_leveldb:
            raise DataError(
                f"{path!r} is not a LevelDB: it is not a folder with a file CURRENT in it",
                hint="It is an LMDB: write `backend: LMDB` in data_param (LEVELDB is the default), or --backend=lmdb"
                if is_lmdb
                else "Give the folder that holds CURRENT and the MANIFEST",
            )
        database = LevelDB(path)
    try:
        database.rewind()
    except DataError:
        database.close()
        raise
    logger.info("Opened %s %s", caffe_pb2.DataParameter.DB.Name(backend).lower(), source)
    return database


def open_records(param: caffe_pb2.DataParameter, rng: np.random.Generator, where: Where | None) -> Database:
    """Open the database of a data_param, whose ``shuffle`` asks for another order in each epoch."""
    if param.rand_skip:
        logger.warning("rand_skip is ignored: no record is left out")
    database = open_database(param.source, param.backend, where)
    return ShuffledDatabase(database, rng) if param.shuffle else database
