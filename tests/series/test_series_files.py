"""Files of series: what they hold comes back, and what is wrong is named by its line."""

import json
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from series_datasets import CSV, same_dataset, small_dataset

from netsynth.dataset import Column, SeriesDataset, SeriesSchema, TimeAxis
from netsynth.errors import ConfigError, TableError
from netsynth.series import (
    format_schema,
    plan_of_schema,
    read_metadata,
    read_schema_file,
    read_series,
    write_series,
)


def write(tmp_path: Path, text: str, name: str = "web.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_long_form_file_is_understood_without_a_schema(tmp_path: Path) -> None:
    got = read_series(write(tmp_path, CSV))
    assert got.schema.metadata == small_dataset().schema.metadata
    assert [c.kind for c in got.schema.measurements] == ["count", "numeric"]
    assert got.schema.id_column == "user"
    assert same_dataset(got, small_dataset())


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_what_is_written_reads_back(tmp_path: Path, ending: str) -> None:
    path, data = tmp_path / f"out.{ending}", small_dataset()
    parts = [data.take(np.array([0])), data.take(np.array([1]))]
    assert write_series(path, parts) == 2
    again = read_series(path, schema=plan_of_schema(data.schema))
    assert same_dataset(again, data)
    assert again.schema.metadata == data.schema.metadata
    assert [c.kind for c in again.schema.measurements] == ["count", "numeric"]


def test_pandas_reads_what_is_written(tmp_path: Path) -> None:
    write_series(tmp_path / "o.parquet", [small_dataset()])
    frame = pandas.read_parquet(tmp_path / "o.parquet")
    assert list(frame.columns) == ["user", "plan", "rate", "bytes", "loss"]
    assert frame["bytes"].tolist() == [10, 20, 30, 0, 7]
    assert frame["plan"].tolist() == ["home", "home", "home", "work", "work"]


def test_a_printed_schema_reads_back(tmp_path: Path) -> None:
    schema = small_dataset().schema
    plan = read_schema_file(write(tmp_path, format_schema(schema), "s.toml"))
    assert plan.id_column == "user"
    assert [(c.name, c.kind) for c in plan.metadata] == [("plan", "categorical"),
                                                         ("rate", "numeric")]  # fmt: skip
    assert plan.metadata[0].values == ("home", "work")
    assert plan.measurements[0].high == 30
    assert same_dataset(read_series(write(tmp_path, CSV), schema=plan), small_dataset())


BAD = [
    ("a,home,1.5,ten,0", "line 5: bytes is 'ten', not a finite number"),
    ("a,home,1.5,2.5,0", "line 5: bytes is 2.5, not a whole number from 0"),
    ("a,home,1.5,3,", "line 5: loss is missing"),
    ("a,home,1.5,3,nan", "line 5: loss is 'nan', not a finite number"),
    ("a,cafe,1.5,3,0", "line 5: plan is 'cafe', none of its values"),
    ("a,work,1.5,3,0", "line 5: plan is another than in line 3 of the same series"),
    ("a,home,1.5,31,0", "line 5: bytes is 31, outside 0 .. 30"),
    (",home,1.5,3,0", "line 5: user is missing"),
    ("a,home,1.5,3", "line 5: 4 cells, not 5"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str, message: str) -> None:
    plan = read_schema_file(write(tmp_path, format_schema(small_dataset().schema), "s.toml"))
    lines = CSV.splitlines()
    lines[4] = row
    with pytest.raises(TableError, match="web.csv: " + message.replace(".", r"\.")):
        read_series(write(tmp_path, "\n".join(lines) + "\n"), schema=plan)


def test_salvaging_leaves_out_the_series_of_a_bad_row_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = read_schema_file(write(tmp_path, format_schema(small_dataset().schema), "s.toml"))
    text = CSV.replace("a,home,1.5,20,0.25", "a,home,1.5,,0.25")
    got = read_series(write(tmp_path, text), schema=plan, salvage=True)
    assert same_dataset(got, small_dataset().take(np.array([1])))
    assert "left out 1 series with bad rows (line 3: bytes is missing)" in caplog.text


def test_records_follow_their_step(tmp_path: Path) -> None:
    text = "id,step,x\na,2,30\nb,1,5\na,1,20\nb,0,4\na,0,10\n"
    got = read_series(write(tmp_path, text))
    assert got.values[:, 0].tolist() == [10, 20, 30, 4, 5]
    assert got.schema.metadata == ()
    with pytest.raises(TableError, match="line 6: another record of the series has this step"):
        read_series(write(tmp_path, text.replace("a,0,10", "a,1,10")))


def test_the_column_of_steps_is_printed_and_written(tmp_path: Path) -> None:
    got = read_series(write(tmp_path, "id,x,step\na,30,7\na,20,5\nb,5,1\n"))
    assert format_schema(got.schema).startswith('id = "id"\nstep = "step"\n')
    path = tmp_path / "out.csv"
    write_series(path, [got, got])
    assert path.read_text() == ('"id","step","x"\n0,0,20\n0,1,30\n1,0,5\n2,0,20\n2,1,30\n3,0,5\n')
    again = read_series(path, schema=read_schema_file(write(tmp_path, format_schema(got.schema))))
    assert again.schema.step == "step"
    npz = tmp_path / "out.npz"
    write_series(npz, [got])
    assert read_series(npz).schema == got.schema


def test_a_column_that_counts_up_is_the_order_whatever_its_name(tmp_path: Path) -> None:
    rows = [(name, hour, hour % 3) for name, first in (("a", 4), ("b", 9)) for hour in
            range(first, first + 9)]  # fmt: skip
    text = "id,hour,x\n" + "".join(f"{name},{hour},{x}\n" for name, hour, x in rows)
    got = read_series(write(tmp_path, text))
    assert got.schema.step == "hour"
    assert [c.name for c in got.schema.measurements] == ["x"]
    odd = read_series(write(tmp_path, text.replace("b,17,", "b,18,")))
    assert [c.name for c in odd.schema.measurements] == ["hour", "x"]


def test_columns_that_a_schema_does_not_name_are_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = read_schema_file(write(tmp_path, '[measurement.x]\nkind = "count"\n', "s.toml"))
    read_series(write(tmp_path, "id,x,note,y\na,1,no,2\na,2,yes,2\n"), schema=plan)
    assert "left out, as the schema does not name it: note, y" in caplog.text


def test_even_times_become_a_step_and_come_back(tmp_path: Path) -> None:
    text = "id,time,x\na,100,1\na,160,2\nb,40,3\nb,100,4\nb,160,5\n"
    got = read_series(write(tmp_path, text))
    assert got.schema.time == TimeAxis(
        column="time",
        unit="s",
        origin_ns=40_000_000_000,
        step_ns=60_000_000_000,
        grain_ns=20_000_000_000,
    )
    assert got.metadata[:, 0].tolist() == [60, 0]  # starts, seconds after the earliest
    write_series(tmp_path / "o.csv", [got])
    assert pandas.read_csv(tmp_path / "o.csv")["time"].tolist() == [100, 160, 40, 100, 160]


def test_uneven_times_become_gaps_and_come_back(tmp_path: Path) -> None:
    text = "id,time,x\na,0.5,1\na,0.75,2\na,1.5,9\nb,2,3\nb,2,4\n"
    got = read_series(write(tmp_path, text))
    assert [c.name for c in got.schema.measurements] == ["x", "time_gap"]
    assert got.values[:, 1].tolist() == [0, 0.25, 0.75, 0, 0]
    assert got.metadata[:, 0].tolist() == [0, 1.5]
    write_series(tmp_path / "o.csv", [got])
    assert pandas.read_csv(tmp_path / "o.csv")["time"].tolist() == [0.5, 0.75, 1.5, 2, 2]
    with pytest.raises(TableError, match="line 4: time is earlier than in the row before"):
        read_series(write(tmp_path, text.replace("a,1.5,9", "a,0.6,9")))


def test_dates_are_times(tmp_path: Path) -> None:
    text = "id,date,x\na,2016-07-01,1\na,2016-07-02,2\na,2016-07-03,2\n"
    got = read_series(write(tmp_path, text))
    assert got.schema.time is not None
    assert got.schema.time.step_ns == 86_400 * 10**9
    assert got.schema.time.origin_ns == 1_467_331_200 * 10**9  # date -d 2016-07-01Z +%s
    assert got.schema.metadata == ()
    write_series(tmp_path / "o.csv", [got])
    written = pandas.read_csv(tmp_path / "o.csv")["date"].tolist()
    assert written == ["2016-07-01", "2016-07-02", "2016-07-03"]


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (["2024-03-01", "2024-03-03"], "2024-03-03"),
        (["2024-03-01T10:00", "2024-03-01T11:30"], "2024-03-01 11:30:00Z"),
        (["2024-03-01T10:00:00.25Z", "2024-03-01T10:00:01Z"], "2024-03-01 10:00:01.000Z"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_times_are_written_as_finely_as_they_were(
    tmp_path: Path, cells: list[str], written: str, ending: str
) -> None:
    text = "id,date,x\n" + "".join(
        f"{name},{cell},{x}\n" for name in "ab" for x, cell in enumerate(cells)
    )
    got = read_series(write(tmp_path, text))
    write_series(tmp_path / f"o.{ending}", [got])
    again = read_series(tmp_path / f"o.{ending}")
    assert again.schema.time == got.schema.time
    assert again.times_ns().tolist() == got.times_ns().tolist()
    if ending == "csv":
        assert (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()[-1] == f"1,{written},1"


def test_drawn_times_are_multiples_of_what_learned_ones_are(tmp_path: Path) -> None:
    text = "id,date,x\na,2016-07-01,1\na,2016-07-04,2\nb,2016-07-03,2\nb,2016-07-04,5\n"
    text += "b,2016-07-07,6\n"
    got = read_series(write(tmp_path, text))
    drawn = SeriesDataset(
        schema=got.schema,
        metadata=np.array([[0.6 * 86_400]]),  # seconds after the earliest start
        values=np.array([[1.0, 0], [2, 1.3 * 86_400], [3, 1.9 * 86_400]]),
        offsets=np.array([0, 3]),
    )
    days = (drawn.times_ns() / (86_400 * 10**9) - 16_983).tolist()  # 2016-07-01 is day 16,983
    assert days == [1, 2, 4]  # 0.6, 1.9 and 3.8, rounded


def test_doppelgangers_layout(tmp_path: Path) -> None:
    path = tmp_path / "web.npz"
    np.savez(
        path,
        data_feature=np.array([[[0.5], [1.0]], [[0.25], [0.0]]], dtype=np.float32),
        data_attribute=np.array([[1, 0, 0.2], [0, 1, 0.7]]),
        data_gen_flag=np.array([[1.0, 1.0], [1.0, 0.0]]),
        data_feature_min=np.array([10.0]),
        data_feature_max=np.array([30.0]),
    )
    got = read_series(path)
    assert [c.kind for c in got.schema.metadata] == ["categorical", "numeric"]
    assert got.metadata.tolist() == [[0, 0.2], [1, 0.7]]
    assert got.values[:, 0].tolist() == [20, 30, 15]
    assert got.lengths.tolist() == [2, 1]


def test_flags_with_a_hole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.npz"
    np.savez(path, data_feature=np.zeros((1, 3, 1)), data_attribute=np.zeros((1, 1)),
             data_gen_flag=np.array([[1, 0, 1]]))  # fmt: skip
    with pytest.raises(TableError, match="sample 0: data_gen_flag is not ones, then zeros"):
        read_series(path)


def write_npz_with_bad_samples(path: Path) -> None:
    """Six samples of two steps: 1 has a NaN, 2 a hole, 3 no plan, 4 a number above its range."""
    feature = np.full((6, 2, 1), 0.5)
    feature[1, 0], feature[4, 1] = np.nan, 1.5
    feature[5, 1] = np.nan  # behind its end, where nothing is looked at
    flag = np.ones((6, 2))
    flag[2], flag[5] = [0, 1], [1, 0]
    attribute = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [1, 0], [0, 1]], dtype=np.float64)
    plan = Column(name="plan", kind="categorical", values=("home", "work"))
    traffic = Column(name="bytes", kind="numeric", low=0, high=8)
    schema = SeriesSchema(metadata=(plan,), measurements=(traffic,), max_length=2)
    np.savez(path, data_feature=feature, data_attribute=attribute, data_gen_flag=flag,
             data_feature_min=[0.0], data_feature_max=[8.0],
             schema=np.array(json.dumps(schema.to_dict())))  # fmt: skip


def test_bad_samples_of_an_npz_are_named(tmp_path: Path) -> None:
    path = tmp_path / "web.npz"
    write_npz_with_bad_samples(path)
    told = (
        "sample 1: data_feature holds what is no number; "
        "sample 2: data_gen_flag is not ones, then zeros; "
        "sample 3: data_attribute: plan is not one of its values; "
        "sample 4: data_feature: bytes lies outside 0..1; mend them"
    )
    with pytest.raises(TableError, match=re.escape(told)):
        read_series(path)


def test_salvaging_an_npz_leaves_out_its_bad_samples_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web.npz"
    write_npz_with_bad_samples(path)
    with caplog.at_level("WARNING"):
        got = read_series(path, salvage=True)
    assert "left out 4 bad samples" in caplog.text
    assert got.metadata[:, 0].tolist() == [0, 1]
    assert got.lengths.tolist() == [2, 1]
    assert got.values[:, 0].tolist() == [4, 4, 4]


def test_an_npz_without_ranges_holds_numbers_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "views.npz"
    np.savez(path, data_feature=[[[700.0, 0.5], [20, 0.25]]], data_attribute=np.zeros((1, 1)),
             data_gen_flag=np.ones((1, 2)))  # fmt: skip
    got = read_series(path)
    assert [(c.low, c.high) for c in got.schema.measurements] == [(20, 700), (0, 1)]
    assert got.values.tolist() == [[700, 0.5], [20, 0.25]]


def test_wanted_metadata_repeat_by_their_weight(tmp_path: Path) -> None:
    schema = small_dataset().schema
    rows = read_metadata(write(tmp_path, "rate,plan,weight\n2,work,2\n1.5,home,1\n"), schema)
    assert rows.tolist() == [[1, 2], [1, 2], [0, 1.5]]
    with pytest.raises(TableError, match="line 2: plan is none of home, work"):
        read_metadata(write(tmp_path, "rate,plan\n2,cafe\n"), schema)
    with pytest.raises(TableError, match=r"line 2: rate is no number in 1\.5 \.\. 2\.5"):
        read_metadata(write(tmp_path, "rate,plan\n9,work\n"), schema)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="holds no rows"):
        read_series(write(tmp_path, "id,x\n"))
    with pytest.raises(TableError, match="cannot read it"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(TableError, match="not a Parquet file"):
        read_series(write(tmp_path, "id,x\n1,2\n", "x.parquet"))
    with pytest.raises(TableError, match=r"not a \.npz file"):
        read_series(write(tmp_path, "id,x\n1,2\n", "x.npz"))
    with pytest.raises(ConfigError, match=r"series are in files ending in \.npz"):
        read_series(tmp_path / "x.txt")
    with pytest.raises(TableError, match="every series has one record alone"):
        read_series(write(tmp_path, "id,x\n1,2\n2,3\n"))
    with pytest.raises(ConfigError, match=r"\[metadata.x\] knows no kindd"):
        read_schema_file(write(tmp_path, '[metadata.x]\nkind = "count"\nkindd = 3\n', "s.toml"))


def test_lines_are_those_of_the_file_where_cells_hold_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,x,note\n1,2,"a\nb"\n1,many,"c, ""d"""\n1,4,e\n')
    with pytest.raises(TableError, match="line 4: x is 'many'"):
        read_series(path)
    path = write(tmp_path, 'id,x,note\n1,2,"a\n\nb"\n1,2\n')
    with pytest.raises(TableError, match="line 5: 2 cells, not 3"):
        read_series(path)


def test_a_column_of_dates_is_one_of_times_whatever_its_name(tmp_path: Path) -> None:
    rows = [f"{s},{s}-01-01,2024-03-{d:02d},{d + s}.5" for s in (1, 2) for d in (1, 2, 3)]
    got = read_series(write(tmp_path, "\n".join(["who,born,Tag,load", *rows])))
    assert got.schema.time is not None
    assert got.schema.time.column == "Tag"
    assert [c.name for c in got.schema.metadata] == ["born"]
    rows[1] = rows[1].replace("2024-03", "2024-13")
    with pytest.raises(TableError) as error:
        read_series(write(tmp_path, "\n".join(["who,born,Tag,load", *rows])))
    assert "line 3: Tag is missing or no time; mend" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id;x\n1;2\n1;3\n", "separated by semicolons"),
        ("id\tx\n1\t2\n1\t3\n", "separated by tabs"),
        ("x,y\n0.5,2\n0.7,3\n", "the first, x, holds fractions; say in a schema file"),
    ],
)
def test_what_cannot_be_guessed_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_series(write(tmp_path, text))


@pytest.mark.parametrize("ending", ["PARQUET", "CSV", "NPZ"])
def test_endings_may_be_in_capitals(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"web.{ending}"
    assert write_series(path, [small_dataset()]) == len(small_dataset())
    assert len(read_series(path)) == len(small_dataset())
