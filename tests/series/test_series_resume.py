"""A fit of series that was stopped keeps what it has, can be sampled from, and goes on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest

from netsynth.errors import ConfigError, ModelError
from netsynth.generate import read_model
from netsynth.series_fit import fit_series
from netsynth.series_model import SeriesModel

QUICK = {"doppelganger": {"average": 0.9, "hidden": 16}, "tst": {"width": 16, "layers": 1}}
EPOCHS = {"doppelganger": 12, "tst": 6}


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """100 series of 1 to 6 records."""
    random = np.random.default_rng(0)
    rows = [
        (job, "KILL" if job % 4 == 0 else "FINISH", int(random.poisson(9)))
        for job in range(100)
        for _ in range(1 + job % 6)
    ]
    path = tmp_path / "jobs.csv"
    pandas.DataFrame(rows, columns=["id", "end", "size"]).to_csv(path, index=False)
    return path


def after(calls: int) -> Callable[[], bool]:
    """A stop that is asked for at the `calls`-th question, and stays."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= calls

    return stop


def fit(path: Path, name: str, **more: object) -> SeriesModel:
    return fit_series(
        path, output=path.with_suffix(".netsynth"), generator=name, max_epochs=EPOCHS[name],
        settings={"batch": 20, **QUICK[name]}, **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["doppelganger", "tst"])
def test_a_stopped_fit_goes_on(jobs: Path, name: str) -> None:
    stopped = fit(jobs, name, stop=after(24))
    assert not stopped.facts["fit"]["finished"]
    kept = SeriesModel.load(jobs.with_suffix(".netsynth"))
    assert "unfinished" in kept.describe()
    assert sum(len(part) for part in kept.draw(30)) == 30
    with pytest.raises(ModelError, match=r"begun with other .*batch"):
        fit_series(
            jobs, output=jobs.with_suffix(".netsynth"), generator=name, resume=True,
            max_epochs=EPOCHS[name], settings={"batch": 10, **QUICK[name]},
        )  # fmt: skip
    done = fit(jobs, name, resume=True)
    assert done.facts["fit"]["finished"]
    assert done.facts["fit"]["outcomes"]["series"]["steps"] > 0
    with pytest.raises(ModelError, match="is finished"):
        fit(jobs, name, resume=True)


def test_doppelganger_goes_on_from_its_step_and_keeps_its_moments(jobs: Path) -> None:
    fit(jobs, "doppelganger", stop=after(22))  # asked once before, then after each step
    _, arrays = read_model(jobs.with_suffix(".netsynth"))
    assert arrays["unfinished.steps"].tolist() == [21]
    moments = [name for name in arrays if name.endswith("exp_avg_sq")]
    assert moments
    assert all(arrays[name].max() > 0 for name in moments if arrays[name].size > 1)
    done = fit(jobs, "doppelganger", resume=True)
    assert done.facts["fit"]["outcomes"]["series"]["steps"] == 12 * 5
    _, arrays = read_model(jobs.with_suffix(".netsynth"))
    assert not [name for name in arrays if name.startswith("unfinished.")]


def test_other_series_are_refused(jobs: Path) -> None:
    fit(jobs, "tst", stop=after(10))
    with jobs.open("a", encoding="utf-8") as file:
        file.write("100,KILL,3\n100,KILL,5\n")
    with pytest.raises(ModelError, match="begun with other series"):
        fit(jobs, "tst", resume=True)
    with pytest.raises(ConfigError, match="needs output"):
        fit_series(jobs, resume=True)
