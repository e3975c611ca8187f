"""`fit`, `sample` and `report` on files of series, end to end."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from netsynth_cli.main import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """jobs.csv, 120 series of two classes, and models of both generators."""
    folder = tmp_path_factory.mktemp("series")
    random = np.random.default_rng(0)
    rows = []
    for job in range(120):
        end = "KILL" if job % 4 == 0 else "FINISH"
        for _ in range(6 if end == "KILL" else int(random.integers(1, 4))):
            size = random.poisson(40 if end == "KILL" else 3)
            rows.append((f"job{job}", end, size, round(random.random(), 3)))
    frame = pandas.DataFrame(rows, columns=["id", "end", "size", "load"])
    frame.to_csv(folder / "jobs.csv", index=False)
    quick = ["-q", "--max-epochs", "4"]
    for name in ("tst", "doppelganger"):
        target = str(folder / f"{name}.netsynth")
        arguments = ["--generator", name, "-o", target, *quick]
        assert run(["fit", str(folder / "jobs.csv"), *arguments]) == 0
    return folder


@pytest.mark.parametrize("name", ["tst", "doppelganger"])
@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_series_are_written_by_ending(folder: Path, name: str, ending: str) -> None:
    out = folder / f"{name}.{ending}"
    model = str(folder / f"{name}.netsynth")
    assert run(["sample", "-m", model, "-n", "50", "-q", str(out)]) == 0
    if ending == "npz":
        with np.load(out) as arrays:
            assert arrays["data_feature"].shape == (50, 6, 2)
            assert arrays["data_attribute"].shape == (50, 2)
        return
    read = pandas.read_csv if ending == "csv" else pandas.read_parquet
    frame = read(out)
    assert list(frame.columns) == ["id", "end", "size", "load"]
    assert frame["id"].nunique() == 50
    assert frame["load"].between(0, 1).all()
    assert (frame["size"] >= 0).all()


def test_a_report_of_both_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, real = folder / "again.parquet", str(folder / "jobs.csv")
    assert run(["sample", "-m", str(folder / "tst.netsynth"), "-n", "100", "-q", str(out)]) == 0
    capsys.readouterr()
    assert run(["report", real, str(out), "--json", "-o", str(folder / "report")]) == 0
    found = json.loads(capsys.readouterr().out)[str(out)]
    assert (found["real"], found["synthetic"]) == (120, 100)
    assert "only 120 real series" in found["warnings"][0]
    assert json.loads((folder / "report" / "report.json").read_text())[str(out)] == found
    assert run(["report", real, str(out)]) == 0
    assert "telling KILL, the rarest" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tst", "doppelganger"])
def test_wanted_classes_and_lengths(folder: Path, name: str) -> None:
    model, out = str(folder / f"{name}.netsynth"), folder / "wanted.csv"
    where = ["--where", "end=KILL", "--length", "5"]
    assert run(["sample", "-m", model, "-n", "30", *where, "-q", str(out)]) == 0
    frame = pandas.read_csv(out)
    assert set(frame["end"]) == {"KILL"}
    assert (frame.groupby("id").size() == 5).all()
    (folder / "rows.csv").write_text("end,weight\nFINISH,2\nKILL,1\n", encoding="utf-8")
    rows = ["--metadata", str(folder / "rows.csv")]
    assert run(["sample", "-m", model, *rows, "-q", str(out)]) == 0
    assert pandas.read_csv(out).groupby("id")["end"].first().tolist() == ["FINISH"] * 2 + ["KILL"]


def test_metadata_are_retrained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, new = str(folder / "doppelganger.netsynth"), str(folder / "new.netsynth")
    (folder / "wanted.csv").write_text("end\nKILL\n", encoding="utf-8")
    wanted = ["--metadata", str(folder / "wanted.csv")]
    assert run(["fit", model, *wanted, "-o", new, "-q"]) == 0
    assert run(["sample", "-m", new, "-n", "200", "-q", str(folder / "new.csv")]) == 0
    frame = pandas.read_csv(folder / "new.csv")
    assert (frame.groupby("id")["end"].first() == "KILL").mean() > 0.8
    assert run(["fit", str(folder / "tst.netsynth"), *wanted, "-o", new, "-q"]) == 1
    assert "sample --metadata" in capsys.readouterr().err


def test_the_guessed_schema_is_printed_and_settings_need_no_prefix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "mode=published", "--set", "published.preset=small"]
    target = str(folder / "published.netsynth")
    arguments = ["-o", target, "--max-epochs", "1", "--set", "published.max_epochs=1"]
    assert run(["fit", str(folder / "jobs.csv"), *small, *arguments]) == 0
    told = capsys.readouterr().err
    assert '[metadata."end"]\nkind = "categorical"\nvalues = ["FINISH", "KILL"]' in told
    assert '[measurement."size"]\nkind = "count"' in told
    assert run(["sample", "-m", target, "-n", "5", "-q", str(folder / "p.csv")]) == 0


def test_errors_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(folder / "tst.netsynth")
    for arguments, message in (
        (["sample", "-m", model, "-n", "5", str(folder / "x.pcap")], "is a model of series"),
        (["sample", "-m", model, "--where", "end=EVICT", str(folder / "x.csv")], "never EVICT"),
        (["sample", "-m", model, "--length", "9", str(folder / "x.csv")], "must be 1 to 6"),
        (["fit", str(folder / "jobs.csv"), "--generator", "gan"], "no generator gan"),
        (["fit", str(folder / "jobs.csv"), "--set", "widht=3"], "tst.width"),
    ):
        assert run(arguments) == 1
        error = capsys.readouterr().err
        last = error.splitlines()[-1]
        assert last.startswith("netsynth: ")
        assert message in last
        assert "Traceback" not in error


def test_options_for_captures_alone_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, model = str(folder / "jobs.csv"), str(folder / "tst.netsynth")
    for arguments, option in (
        (["fit", jobs, "--decapsulate"], "--decapsulate"),
        (["sample", "-m", model, "--rate", "2x", str(folder / "x.csv")], "--rate"),
        (["sample", "-m", model, "--snaplen", "64", str(folder / "x.csv")], "--snaplen"),
        (["report", jobs, jobs, "--fail-over", "2"], "--fail-over"),
        (["report", jobs, jobs, "--family", "temporal"], "--family"),
    ):
        assert run(arguments) == 2
        assert f"{option} is for captures, not for series" in capsys.readouterr().err


def test_a_report_leaves_out_bad_series_where_it_is_told_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (folder / "jobs.csv").read_text(encoding="utf-8").splitlines()
    cells = lines[3].split(",")
    lines[3] = ",".join([*cells[:2], "many", cells[3]])
    bad = folder / "bad.csv"
    bad.write_text("\n".join(lines), encoding="utf-8")
    arguments = ["report", str(folder / "jobs.csv"), str(bad)]
    assert run(arguments) == 1
    assert "line 4: size is 'many', not a finite number" in capsys.readouterr().err
    assert run([*arguments, "--salvage"]) == 0
    assert "119 synthetic series beside 120 real ones" in capsys.readouterr().out
