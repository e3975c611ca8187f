"""Forecasters against statsmodels, representations against netml, detectors, labels."""

from dataclasses import replace

import numpy as np
import pytest
from report_tables import dialogues, packet_table
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from netsynth.report import compare
from netsynth.report.anomaly import f1, resampled_f1
from netsynth.report.detectors import NAMES, train_detector
from netsynth.report.forecasters import (
    LAGS,
    autoregression,
    fit_ar,
    fit_arma,
    forecasters,
    lagged,
    moving_average,
)
from netsynth.report.labels import class_f1, rank_correlation, weighted_f1
from netsynth.report.representations import Flows, flows_of, represent, shape_of
from netsynth.report.throughput import errors
from netsynth.report.trace import trace_of
from netsynth.tables import FlowTable, PacketTable


def noisy_wave(seed: int, length: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 10 + 3 * np.sin(np.arange(length) / 5) + rng.normal(size=length)


def test_ar_is_that_of_statsmodels() -> None:
    ar = pytest.importorskip("statsmodels.tsa.ar_model")
    series, other = noisy_wave(0), noisy_wave(1)
    fitted = ar.AutoReg(series, lags=LAGS).fit()
    assert fit_ar(series) == pytest.approx(fitted.params, rel=1e-8)
    expected = [fitted.params[0] + fitted.params[1:] @ other[t - LAGS : t][::-1] for t in (50, 199)]
    assert autoregression(series)(other)[[50, 199]] == pytest.approx(expected)


def test_arma_is_close_to_the_maximum_likelihood_of_statsmodels() -> None:
    arima = pytest.importorskip("statsmodels.tsa.arima.model")
    rng = np.random.default_rng(3)
    noise = rng.normal(size=4000)
    series = np.zeros(4000)
    for t in range(2, 4000):
        series[t] = 0.5 * series[t - 1] + 0.2 * series[t - 2] + noise[t] + 0.4 * noise[t - 1]
    fitted = arima.ARIMA(series, order=(2, 0, 1)).fit()
    # both estimators are within a few standard errors of each other
    assert fit_arma(series)[1:] == pytest.approx(fitted.params[1:4], abs=0.12)


def test_arma_forecasts_follow_its_own_errors() -> None:
    series = noisy_wave(2)
    constant, first, second, moving = fit_arma(series)
    ahead = moving_average(series)(series)
    residual = series[9] - ahead[9]
    expected = constant + first * series[9] + second * series[8] + moving * residual
    assert ahead[10] == pytest.approx(expected)


def test_lags_run_from_the_newest() -> None:
    past, now = lagged(np.arange(5.0), 2)
    assert past.tolist() == [[1, 0], [2, 1], [3, 2]]
    assert now.tolist() == [2, 3, 4]


@pytest.mark.parametrize("name", list(forecasters()))
def test_each_forecaster_beats_the_mean_on_a_wave(name: str) -> None:
    real = noisy_wave(0)
    naive = np.abs(real[-20:] - real[:180].mean()).mean()
    assert errors(forecasters()[name], real, real)[-1] < naive


def test_forecasts_of_the_same_trace_are_as_good_as_real() -> None:
    real = dialogues(1)
    report = compare(real, real, families=["throughput"], quick=True)
    assert [figure.raw for figure in report.family("throughput")] == [1.0] * 6


# What netml 0.7.1 gives for these flows (numpy 2.0, q_interval 0.9, no cut into subflows); sizes
# are those of its frames.
TALKS = [
    ((1, 2, 1111, 80), [(0, 64), (0.3, 54), (1.0, 754), (1.1, 87), (5.05, 55)]),
    ((2, 1, 80, 1111), [(0.1, 54), (0.45, 1454), (2.3, 1454)]),
    ((3, 2, 5353, 53), [(0.2, 82), (0.9, 83)]),
    (
        (4, 2, 2222, 443),
        [(3.0, 59), (3.25, 60), (3.35, 61), (3.55, 62), (3.95, 63), (6.2, 64), (7.0, 65)],
    ),
    ((5, 2, 999, 99), [(4.0, 142)]),
]
NETML = {
    "IAT": [
        [0.3, 0.7, 0.1, 3.95, 0.0],
        [0.35, 1.85, 0.0, 0.0, 0.0],
        [0.7, 0.0, 0.0, 0.0, 0.0],
        [0.25, 0.1, 0.2, 0.4, 2.25],
    ],
    "SIZE": [
        [64, 54, 754, 87, 55, 0],
        [54, 1454, 1454, 0, 0, 0],
        [82, 83, 0, 0, 0, 0],
        [59, 60, 61, 62, 63, 64],
    ],
    "IAT+SIZE": [
        [0.3, 64, 0.7, 54, 0.1, 754, 3.95, 87, 55, 0, 0],
        [0.35, 54, 1.85, 1454, 1454, 0, 0, 0, 0, 0, 0],
        [0.7, 82, 83, 0, 0, 0, 0, 0, 0, 0, 0],
        [0.25, 59, 0.1, 60, 0.2, 61, 0.4, 62, 2.25, 63, 0.8],
    ],
    "STATS": [
        [5.05, 0.990099, 200.792081, 202.8, 275.856049, 55, 64, 87, 54, 754, 5, 1014],
        [2.2, 1.363636, 1346.363607, 987.333333, 659.966329, 754, 1454, 1454, 54, 1454, 3, 2962],
        [0.7, 2.857143, 235.71427, 82.5, 0.5, 82.25, 82.5, 82.75, 82, 83, 2, 165],
        [4.0, 1.75, 108.5, 62, 2.0, 60.5, 62, 63.5, 59, 65, 7, 434],
    ],
    "SAMP_NUM": [[4, 0, 1, 0, 0], [2, 1, 0, 0, 0], [2, 0, 0, 0, 0], [5, 2, 0, 0, 0]],
    "SAMP_SIZE": [
        [959, 0, 55, 0, 0],
        [1508, 1454, 0, 0, 0],
        [165, 0, 0, 0, 0],
        [305, 129, 0, 0, 0],
    ],
}


def netml_flows() -> tuple[Flows, list[int]]:
    """The flows, and the row of each of the first four talks."""
    rows = [
        {
            "time_ns": round(time * 1e9),
            "ip_length": size,
            **dict(zip(("src", "dst", "src_port", "dst_port"), ends, strict=True)),
        }
        for ends, packets in TALKS
        for time, size in packets
    ]
    flows = flows_of(trace_of(packet_table(rows)))
    first = flows.size[flows.starts].tolist()
    return flows, [first.index(talk[1][0][1]) for talk in TALKS[:4]]


@pytest.mark.parametrize("name", list(NETML))
def test_representations_are_those_of_netml(name: str) -> None:
    flows, rows = netml_flows()
    found = represent(flows, shape_of(flows))[name][rows]
    assert found == pytest.approx(np.array(NETML[name]), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_detectors_call_a_tenth_of_their_own_and_all_far_rows_anomalous(name: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    rows[:, 5] = rows[:, 0] + rows[:, 1]
    detect = train_detector(name, rows, seed=0)
    assert detect(rows).mean() == pytest.approx(0.1, abs=0.01)
    far = rng.normal(size=(50, 6)) * 30
    assert detect(far).mean() > 0.9


def test_f1_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, answer = rng.random((2, 3, 200)) < 0.2
    expected = [f1_score(t, a) for t, a in zip(truth, answer, strict=True)]
    assert [f1(t, a) for t, a in zip(truth, answer, strict=True)] == pytest.approx(expected)
    again = resampled_f1(truth, answer, rng=rng)
    assert again.mean() == pytest.approx(np.mean(expected), abs=0.03)
    assert f1(np.zeros(3, dtype=bool), np.zeros(3, dtype=bool)) == 1.0


def test_detectors_agree_with_themselves_and_less_with_those_of_other_traffic() -> None:
    real, unlike = dialogues(1, sessions=60), dialogues(2, sessions=60)
    unlike.ip_length[:] = 40 + unlike.ip_length % 7
    same = compare(real, real, families=["anomaly"], quick=True)
    assert all(figure.raw == 1.0 and figure.scaled == 0.0 for figure in same.family("anomaly"))
    other = compare(real, unlike, families=["anomaly"], quick=True)
    size = other.figure("anomaly", "SIZE")
    assert size.raw is not None
    assert size.raw < 0.6
    assert other.details["anomaly"]["SIZE"]["PCA"].keys() == {"anomalous", "normal", "floor"}


def labelled(packets: PacketTable, *, swapped: bool = False) -> FlowTable:
    """A flow a packet; those to or from port 53 are "dns", or everything else is."""
    order = np.argsort(packets.time_ns, kind="stable")
    packets = packets.take(order)
    count = len(packets)
    dns = (packets.src_port == 53) | (packets.dst_port == 53)
    none = np.zeros(count, dtype=np.uint8)
    return FlowTable(
        packets=packets,
        offsets=np.arange(count + 1, dtype=np.int64),
        reverse=np.zeros(count, dtype=bool),
        segment=none,
        ack_class=none,
        initiator=packets.src,
        responder=packets.dst,
        initiator_port=packets.src_port,
        responder_port=packets.dst_port,
        protocol=packets.protocol,
        ip_version=packets.ip_version,
        label=(dns != swapped).astype(np.int16),
        label_names=("", "dns"),
    )


def test_classifiers_trained_on_like_traffic_know_the_real_classes() -> None:
    real = labelled(dialogues(1))
    report = compare(real, labelled(dialogues(2)), families=["labels"])
    assert report.figure("labels", "TSTR accuracy").raw == pytest.approx(1.0, abs=0.02)
    assert report.figure("labels", "F1 dns").raw == pytest.approx(1.0, abs=0.02)
    wrong = compare(real, labelled(dialogues(2), swapped=True), families=["labels"])
    accuracy = wrong.figure("labels", "TSTR accuracy")
    assert accuracy.raw == pytest.approx(0.0, abs=0.05)
    assert accuracy.real == pytest.approx(1.0, abs=0.02)


def test_scores_of_labels_have_intervals_about_them() -> None:
    real = labelled(dialogues(1))
    wrong = np.random.default_rng(5).random(len(real)) < 0.2  # so that nobody knows all
    real = replace(real, label=np.where(wrong, 1 - real.label, real.label).astype(np.int16))
    report = compare(real, labelled(dialogues(2)), families=["labels"])
    for figure in report.figures:
        if figure.raw is None:
            continue
        assert figure.interval is not None, figure.name
        assert figure.scaled == pytest.approx(1 - figure.raw)
        assert figure.interval[0] <= figure.scaled <= figure.interval[1]
    low, high = report.figure("labels", "TSTR accuracy").interval  # type: ignore[misc]
    assert 0 < high - low < 0.5


def test_weighted_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth, answer = rng.integers(0, 4, (2, 60))
    weights = rng.poisson(1.0, (5, 60)).astype(np.float64)
    for row, found in zip(weights, weighted_f1(truth, answer, 4, weights), strict=True):
        expected = f1_score(truth, answer, average=None, sample_weight=row)
        assert found == pytest.approx(expected)


def test_without_labels_the_report_says_so() -> None:
    report = compare(dialogues(1), dialogues(2), families=["labels"])
    assert report.figures[0].note == "the real capture has no labels (--labels)"


def test_scores_of_classes_and_ranks() -> None:
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 4, 99), rng.integers(0, 4, 99)
    assert class_f1(truth, answer, 4) == pytest.approx(f1_score(truth, answer, average=None))
    first, second = rng.random(6), rng.random(6)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second)[0])
