"""Where partitions are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from data_helpers import small
from hypothesis import given
from hypothesis import strategies as st

from biglambda.runtime import rows
from biglambda.runtime.data import row_range
from biglambda.runtime.data.partitioning import aligned_range


@given(st.integers(1, 10**9), st.integers(1, 200))
def test_row_ranges_tile_the_rows_in_balanced_whole_chunks(n: int, workers: int) -> None:
    ranges = [row_range(n, worker, workers) for worker in range(workers)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == n
    assert all(left[1] == right[0] for left, right in pairwise(ranges))
    assert all(low % rows.CHUNK == 0 or low == high == n for low, high in ranges)
    chunks = [-(-(high - low) // rows.CHUNK) for low, high in ranges]
    assert max(chunks) - min(chunks) <= 1


def test_workers_beyond_the_chunks_get_nothing() -> None:
    ranges = [row_range(1500, worker, 4) for worker in range(4)]
    assert ranges == [(0, 1024), (1024, 1500), (1500, 1500), (1500, 1500)]
    for worker in (-1, 4):
        with pytest.raises(ValueError, match=f"worker {worker} of 4: workers are numbered from 0 to 3"):
            row_range(1500, worker, 4)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.sampled_from([1, 4, 7]))
def test_alignment_tiles_the_rows_and_needs_less_than_a_chunk_from_beyond(counts: list[int], chunk: int) -> None:
    with small(chunk):
        end = 0
        for worker, count in enumerate(counts):
            offset, low, high = aligned_range(counts, worker)
            assert offset == sum(counts[:worker])
            assert low == end
            assert low % chunk == 0 or low == sum(counts)
            if low < high:
                assert offset <= low < offset + count
                assert high - (offset + count) < chunk
            end = high
        assert end == sum(counts)
