"""What workers keep for each row, written by themselves: it does not pass through Lithops or the client."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..data import StoredArray, store_for
from ..data.parts import SUFFIX, Manifest, Part, part_name, write_manifest, write_part
from ..data.store import Store, try_out
from ..errors import DataError
from .options import RunOptions
from .outcome import WorkerReport, by_worker

LEAST_RATE = 1 << 18
"""Bytes per second with which a worker must write."""


@dataclass(frozen=True)
class OutputFolder:
    """The folder of a run, to which each worker writes its part of each output.

    Attributes
    ----------
    store : Store
        Where it is.
    name : str
        An absolute path, or ``s3://bucket/prefix``.
    """

    store: Store
    name: str

    def write(self, worker: int, outputs: Mapping[str, np.ndarray]) -> dict[str, Part]:
        """Write the parts of a worker. All of its attempts write the same bytes."""
        return {
            name: write_part(self.store, part_name(self._manifest(name), worker), values)
            for name, values in outputs.items()
        }

    def finish(
        self, run: str, dtypes: Mapping[str, type], reports: Sequence[WorkerReport]
    ) -> dict[str, StoredArray]:
        """Write the manifests, now that all parts are there."""
        outputs: dict[str, StoredArray] = {}
        workers = by_worker(reports)
        for name in workers[0].parts:
            manifest = Manifest(run, np.dtype(dtypes[name]), tuple(report.parts[name] for report in workers))
            write_manifest(self.store, self._manifest(name), manifest)
            outputs[name] = StoredArray(self._manifest(name), self.store, manifest)
        self.store.sweep(self.name)
        return outputs

    def _manifest(self, output: str) -> str:
        return f"{self.name}/{output}{SUFFIX}"


@contextmanager
def output_folder(run: str, options: RunOptions, is_local: bool) -> Iterator[OutputFolder | None]:
    """The folder of a run, if its outputs are to be stored; if the run fails, it is deleted.

    Parameters
    ----------
    run : str
        Its name is that of the folder.
    options : RunOptions
        Where it is to be.
    is_local : bool
        Whether the workers run on this machine.

    Raises
    ------
    DataError
        Nothing can be written there, or the workers cannot.
    """
    if options.outputs_to is None:
        yield None
        return
    name = f"{options.outputs_to}/{run}"
    store = store_for(name, options.config)
    if not (store.is_shared or is_local):
        raise DataError(
            f"{options.outputs_to} is a directory of this machine, which functions elsewhere do not see: allowed "
            "is s3://bucket/prefix"
        )
    try_out(store, f"{name}.try")
    store.make_folder(name)
    try:
        yield OutputFolder(store, name)
    except BaseException:
        try:
            store.delete_folder(name)
        except DataError as error:
            warnings.warn(f"the run failed, and parts may be left in {name}: {error}", stacklevel=2)
        raise
