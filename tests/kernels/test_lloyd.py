import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import CHUNK, assign, choose_path, inertia, lloyd, pack_centers, quantum, quantum_pair
from biglambda.kernels.centers import PATHS

paths = st.sampled_from(PATHS)


def run(rows, centers, shift, path, labels=None, slices=None, weights=None):
    """(labels, totals, counts, changed, inertia) of the slices, added up in their order."""
    m, d = rows.shape
    k = len(centers)
    labels = np.full(m, -1, np.int32) if labels is None else labels.copy()
    unit = 1.0 if weights is None else quantum(8.0 * m)
    quanta = np.concatenate([quantum(m * np.full(d, 8.0)), [unit], quantum_pair(m * 64.0 * d, m)])
    packed = pack_centers(centers, shift, rows.dtype, path)
    totals, counts, changed, distance = np.zeros((k, d)), np.zeros(k), 0, np.zeros(2)
    for part in slices or [slice(0, m)]:
        part_totals, part_counts = np.zeros((k, d)), np.zeros(k)
        weight = None if weights is None else weights[part]
        new, *score = lloyd(rows[part], packed, quanta, labels[part], part_totals, part_counts, weight)
        totals, counts = totals + part_totals, counts + part_counts
        changed, distance = changed + new, distance + score
    squares = np.square(rows.astype(float) - packed.shift[:d].astype(float)).sum(axis=1)
    energy = (squares if weights is None else squares * weights).sum()
    return labels, totals, counts, changed, distance.sum() + energy


def same_bits(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def nearly_nearest(rows, centers, labels, slack):
    squares = naive.distances(rows, centers)
    chosen = squares[np.arange(len(rows)), labels]
    return (chosen <= squares.min(axis=1) + slack).all()


@settings(max_examples=120, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.center_counts, cases.dtypes, paths)
def test_lloyd_agrees_with_numpy(seed, m, d, k, dtype, path):
    rows = cases.gaussian(seed, m, d, dtype)
    rng = np.random.default_rng(seed)
    centers, shift = rng.standard_normal((k, d)), rng.standard_normal(d) / 4
    before = rng.integers(0, k, m).astype(np.int32)
    labels, totals, counts, changed, distance = run(rows, centers, shift, path, before)
    squares = naive.distances(rows, centers)
    tolerance = cases.TOLERANCE[rows.dtype]
    assert nearly_nearest(rows, centers, labels, 20 * tolerance * (d + 1))
    assert changed == (labels != before).sum()
    assert np.array_equal(counts, np.bincount(labels, minlength=k))
    expected = np.zeros((k, d))
    np.add.at(expected, labels, rows.astype(float) - shift)
    assert np.abs(totals - expected).max() <= 1e3 * tolerance + 1e-9
    assert distance == pytest.approx(
        squares.min(axis=1).sum() if m else 0.0, rel=50 * tolerance, abs=tolerance * m * (d + 10)
    )


@settings(max_examples=40, deadline=None)
@given(
    cases.seeds, st.sampled_from([1025, 2048, 2049, 3000]), cases.widths, st.integers(1, 12), cases.dtypes, paths
)
def test_cuts_at_chunks_and_their_order_do_not_change_a_bit(seed, m, d, k, dtype, path):
    rows = cases.gaussian(seed, m, d, dtype, offset=0.3)
    centers, shift = cases.gaussian(seed + 1, k, d, float), np.full(d, 0.3)
    whole = run(rows, centers, shift, path)
    assert same_bits(whole, run(rows, centers, shift, path, slices=cases.cuts(seed, m)))
    chunks = [slice(start, start + CHUNK) for start in range(0, m, CHUNK)]
    assert same_bits(whole, run(rows, centers, shift, path, slices=chunks[::-1]))


@settings(max_examples=40, deadline=None)
@given(cases.seeds, st.integers(2, 300), cases.widths, cases.center_counts, cases.dtypes, paths)
def test_a_label_does_not_depend_on_where_the_row_is(seed, m, d, k, dtype, path):
    rows, centers = cases.gaussian(seed, m, d, dtype), cases.gaussian(seed + 1, k, d, float)
    rows[m // 2 :] = rows[: m - m // 2]
    labels = run(rows, centers, np.zeros(d), path)[0]
    order = np.random.default_rng(seed).permutation(m)
    assert np.array_equal(run(rows[order], centers, np.zeros(d), path)[0], labels[order])
    assert np.array_equal(run(rows[: m // 2], centers, np.zeros(d), path)[0], labels[: m // 2])


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("k", [2, 3, 6, 7, 10, 11, 13, 25])
def test_ties_go_to_the_lowest_index(path, k, dtype):
    rows = cases.gaussian(k, 100, 9, dtype)
    centers = np.tile(cases.gaussian(1, 1, 9, float), (k, 1))
    assert not run(rows, centers, np.zeros(9), path)[0].any()
    centers[0] += 100.0
    assert (run(rows, centers, np.zeros(9), path)[0] == 1).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("d", "k"), [(2, 8), (16, 25), (70, 10)])
def test_float32_far_from_zero_gets_the_labels_and_totals_of_float64(path, d, k):
    rows = cases.gaussian(1, 5000, d, np.float32, offset=2013.0)
    centers = rows[:k].astype(float) + 0.01
    shift = rows.mean(axis=0, dtype=float)
    labels, totals, counts, _, distance = run(rows, centers, shift, path)
    assert nearly_nearest(rows, centers, labels, 1e-5 * d)
    same = naive.lloyd(rows, centers, shift, labels)
    assert (same[0] != labels).mean() < 1e-3
    expected = np.zeros((k, d))
    np.add.at(expected, labels, rows.astype(float) - shift)
    assert np.abs(totals - expected).max() < 2e-4
    assert np.abs((totals - expected) / counts[:, None]).max() < 1e-6
    assert distance == pytest.approx(same[4], rel=1e-5)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("m", "d", "k"), [(200, 3000, 5), (300, 3, 3000), (70, 129, 700)])
def test_wide_rows_and_many_centers(path, m, d, k, dtype):
    rows, centers = cases.gaussian(1, m, d, dtype), cases.gaussian(2, k, d, float)
    labels, totals, counts, _, _ = run(rows, centers, np.zeros(d), path)
    assert nearly_nearest(rows, centers, labels, 20 * cases.TOLERANCE[rows.dtype] * d)
    expected = np.zeros((k, d))
    np.add.at(expected, labels, rows.astype(float))
    assert np.abs(totals - expected).max() < 1e-3
    assert counts.sum() == m


@settings(max_examples=40, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.center_counts, cases.dtypes, paths)
def test_assign_gives_the_labels_of_lloyd(seed, m, d, k, dtype, path):
    rows, centers = cases.gaussian(seed, m, d, dtype), cases.gaussian(seed + 1, k, d, float)
    labels = np.full(m, 77, np.int32)
    assign(rows, pack_centers(centers, np.full(d, 0.1), dtype, path), labels)
    assert np.array_equal(labels, run(rows, centers, np.full(d, 0.1), path)[0])


@pytest.mark.parametrize("path", PATHS)
def test_sums_are_multiples_of_the_quanta(path):
    rows, centers = cases.gaussian(1, 2500, 5, np.float32), cases.gaussian(2, 7, 5, float)
    quanta = np.array([0.5, 0.25, 2.0, 2.0**-10, 1.0, 1.0, 8.0, 2.0**-5])
    totals, labels = np.zeros((7, 5)), np.zeros(2500, np.int32)
    packed = pack_centers(centers, np.zeros(5), np.float32, path)
    _, score, rest = lloyd(rows, packed, quanta, labels, totals, np.zeros(7))
    assert not np.fmod(totals, quanta[:5]).any()
    assert score % 8.0 == 0.0
    assert rest % 2.0**-5 == 0.0


def test_a_second_iteration_with_the_same_centers_changes_no_label():
    rows, centers = cases.gaussian(1, 2500, 16, np.float32), cases.gaussian(2, 25, 16, float)
    labels, _, _, changed, _ = run(rows, centers, np.zeros(16), None)
    assert changed == 2500
    assert run(rows, centers, np.zeros(16), None, labels)[3] == 0


@settings(max_examples=80, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.center_counts, cases.dtypes, paths)
def test_weights_count_a_row_so_many_times(seed, m, d, k, dtype, path):
    rows, rng = cases.gaussian(seed, m, d, dtype), np.random.default_rng(seed)
    centers, shift = rng.standard_normal((k, d)), rng.standard_normal(d) / 4
    weights = (rng.random(m) * (rng.random(m) < 0.8)).astype(dtype)
    labels, totals, counts, _, distance = run(rows, centers, shift, path, weights=weights)
    assert np.array_equal(labels, run(rows, centers, shift, path)[0])
    tolerance = cases.TOLERANCE[rows.dtype]
    assert counts == pytest.approx(np.bincount(labels, weights, k), rel=50 * tolerance, abs=1e-9)
    expected = np.zeros((k, d))
    np.add.at(expected, labels, (rows.astype(float) - shift) * weights[:, None])
    assert np.abs(totals - expected).max() <= 1e3 * tolerance + 1e-9
    squares = naive.distances(rows, centers)[np.arange(m), labels] * weights
    assert distance == pytest.approx(squares.sum(), rel=50 * tolerance, abs=tolerance * m * (d + 10))


@settings(max_examples=30, deadline=None)
@given(cases.seeds, st.sampled_from([1025, 2049, 3000]), cases.widths, st.integers(1, 12), cases.dtypes, paths)
def test_weights_keep_the_bits_over_cuts_and_ones_are_no_weights(seed, m, d, k, dtype, path):
    rows, centers, shift = cases.gaussian(seed, m, d, dtype), cases.gaussian(seed + 1, k, d, float), np.zeros(d)
    weights = np.random.default_rng(seed).random(m).astype(dtype)
    whole = run(rows, centers, shift, path, weights=weights)
    assert same_bits(whole, run(rows, centers, shift, path, weights=weights, slices=cases.cuts(seed, m)))
    ones = run(rows, centers, shift, path, weights=np.ones(m, dtype))
    assert same_bits(ones, run(rows, centers, shift, path))


def test_outputs_are_added_to():
    rows, packed = cases.gaussian(1, 100, 3, np.float64), pack_centers(np.zeros((1, 3)), np.zeros(3), np.float64)
    totals, counts, labels = np.full((1, 3), 5.0), np.full(1, 7.0), np.zeros(100, np.int32)
    lloyd(rows, packed, np.full(6, 2.0**-40), labels, totals, counts)
    assert counts[0] == 107
    assert totals - 5.0 == pytest.approx(rows.sum(axis=0, keepdims=True))


@settings(max_examples=40, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, st.integers(1, 9), cases.dtypes)
def test_inertia_agrees_with_numpy_and_does_not_depend_on_cuts(seed, m, d, k, dtype):
    rows, centers = cases.gaussian(seed, m, d, dtype, 100.0), cases.gaussian(seed + 1, k, d, float, 100.0)
    labels = np.random.default_rng(seed).integers(0, k, m).astype(np.int32)
    units = quantum_pair(m * d * 1e6, m)
    result = np.array(inertia(rows, centers, labels, units))
    assert result.sum() == pytest.approx(naive.inertia(rows, centers, labels), rel=1e-12)
    parts = [inertia(rows[part], centers, labels[part], units) for part in cases.cuts(seed, m)]
    assert result.tolist() == np.sum(parts, axis=0).tolist()


def test_what_a_far_bound_rounds_away_is_kept_in_the_second_part():
    """A bound 10**17 times the sum, as one row far away makes it: a single quantum would give 0."""
    rows = cases.gaussian(3, 5000, 2, np.float64)
    labels, centers = np.zeros(len(rows), np.int32), np.zeros((1, 2))
    units = quantum_pair(1e21, len(rows))
    whole = np.array(inertia(rows, centers, labels, units))
    assert whole.sum() == pytest.approx((rows**2).sum(), rel=1e-9)
    parts = [inertia(rows[low : low + 1024], centers, labels, units) for low in (4096, 0, 2048, 1024, 3072)]
    assert whole.tolist() == np.sum(parts, axis=0).tolist()


@pytest.mark.parametrize(
    ("d", "k", "dtype", "path"),
    [
        (1, 104, np.float32, "few_features"),
        (1, 105, np.float32, "general"),
        (2, 8, np.float64, "few_features"),
        (8, 24, np.float32, "general"),
        (9, 18, np.float32, "few_features"),
        (16, 11, np.float32, "few_features"),
        (16, 12, np.float32, "general"),
        (17, 1, np.float32, "general"),
        (25, 5, np.float64, "few_centers"),
        (24, 5, np.float64, "general"),
        (49, 5, np.float32, "few_centers"),
        (49, 6, np.float32, "general"),
        (96, 15, np.float32, "few_centers"),
        (95, 15, np.float32, "general"),
        (96, 16, np.float32, "general"),
        (192, 20, np.float32, "few_centers"),
        (192, 21, np.float32, "general"),
        (784, 20, np.float32, "general"),
        (784, 10, np.float32, "few_centers"),
        (784, 100, np.float64, "general"),
    ],
)
def test_the_path_is_a_function_of_the_shape(d, k, dtype, path):
    assert choose_path(d, k, dtype) == path


def test_an_unknown_path_is_refused():
    with pytest.raises(ValueError, match="few_features, few_centers, general"):
        pack_centers(np.zeros((1, 1)), np.zeros(1), np.float32, "fast")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": np.zeros((5, 3))}, r"rows of shape \(5, 3\) and 5 labels for centres of 2 features"),
        ({"labels": np.zeros(4, np.int32)}, r"rows of shape \(5, 2\) and 4 labels"),
        ({"quanta": np.ones(4)}, r"quanta of shape \(4,\) .* must be \(5,\)"),
        ({"totals": np.zeros((4, 2))}, r"totals of shape \(4, 2\) for 3 centres of 2 features: must be \(3, 2\)"),
        ({"counts": np.zeros(4)}, r"counts of shape \(4,\)"),
    ],
)
def test_shapes_that_do_not_belong_together_are_named(changed, message):
    arrays = {
        "rows": np.zeros((5, 2)), "quanta": np.ones(5), "labels": np.zeros(5, np.int32),
        "totals": np.zeros((3, 2)), "counts": np.zeros(3), **changed,
    }  # fmt: skip
    packed = pack_centers(np.zeros((3, 2)), np.zeros(2), np.float64)
    with pytest.raises(ValueError, match=message):
        lloyd(arrays["rows"], packed, *[arrays[name] for name in ("quanta", "labels", "totals", "counts")])
    if "rows" in changed or "labels" in changed:
        with pytest.raises(ValueError, match=message):
            assign(arrays["rows"], packed, arrays["labels"])
