"""The classifier two-sample test: AUC against scikit-learn, and what it finds."""

import numpy as np
import pytest
from report_tables import dialogues
from sklearn.metrics import roc_auc_score

from netsynth.report import compare
from netsynth.report.c2st import area_under_curve, fold_rows, lone_auc
from netsynth.report.sessions import session_features
from netsynth.report.trace import trace_of


@pytest.mark.parametrize("seed", range(4))
def test_auc_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, y = rng.integers(0, 20, 300).astype(float), rng.integers(0, 2, 300)
    assert area_under_curve(scores, y) == pytest.approx(roc_auc_score(y, scores))


def test_a_feature_alone_may_point_either_way() -> None:
    y = np.array([0, 0, 1, 1])
    assert lone_auc(np.array([4.0, 3.0, 2.0, 1.0]), y) == 1.0
    assert lone_auc(np.array([-1.0, 1.0, -1.0, 1.0]), y) == 0.5


def test_copies_share_a_fold_and_common_rows_are_spread() -> None:
    rng = np.random.default_rng(0)
    unlike = rng.normal(size=(50, 3))
    x = np.concatenate([unlike, unlike, np.zeros((40, 3))])
    y = np.repeat([0, 1, 0], [50, 50, 40])
    folds = fold_rows(x, y, rng=rng)
    assert (folds[:50] == folds[50:100]).all()
    assert set(folds[100:].tolist()) == {0, 1, 2, 3, 4}


def test_like_traffic_cannot_be_told_and_a_wrong_ttl_is_named() -> None:
    real, like, unlike = dialogues(1, sessions=300), dialogues(2, sessions=300), dialogues(3)
    unlike.ttl[unlike.ttl == 64] = 63
    fair = compare(real, like, families=["C2ST"], quick=True)
    assert fair.figure("C2ST", "AUC").raw == pytest.approx(0.5, abs=0.08)
    told = compare(real, unlike, families=["C2ST"])
    assert told.figure("C2ST", "AUC").raw == pytest.approx(1.0, abs=0.01)
    assert "TTL" in told.details["telling_features"][0]["feature"]


def test_features_of_a_session_are_those_of_its_packets() -> None:
    trace = trace_of(dialogues(5, sessions=40))
    features = session_features(trace)
    for session in range(trace.session_count):
        rows = trace.session == session
        packets, forward = trace.packets.take(rows), trace.forward[rows]
        gaps = np.diff(packets.time_ns) / 1e9
        sizes = packets.ip_length[forward].astype(float)
        payload = packets.payload_length[~forward].astype(float)
        expected = {
            "forward packets": forward.sum(),
            "backward packets": (~forward).sum(),
            "forward IP length std": sizes.std(),
            "forward bytes": sizes.sum(),
            "backward payload max": payload.max(),
            "gap median": np.median(gaps),
            "gap std": gaps.std(),
            "gap min": gaps.min(),
            "duration": gaps.sum(),
            "forward window first": packets.window[forward][0],
            "backward PSH": (packets.tcp_flags[~forward] & 8 > 0).sum(),
        }
        for name, value in expected.items():
            assert features[name][session] == pytest.approx(value), name


def test_a_side_that_never_spoke_has_counts_but_no_statistics() -> None:
    real = dialogues(1, sessions=20)
    trace = trace_of(real)
    half = trace_of(real.take(np.isin(real.time_ns, trace.packets.time_ns[trace.forward])))
    features = session_features(half)
    assert (features["backward packets"] == 0).all()
    assert np.isnan(features["backward TTL min"]).all()
