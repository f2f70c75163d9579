"""Datasets in, anomalies.csv out, and the score against hand-made truth."""

import json
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from fieldstream_central.detect.cli import app
from fieldstream_central.detect.compare import compare_episodes
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.dataset import DatasetError, open_dataset
from fieldstream_central.detect.novelty import Novelty
from fieldstream_central.detect.replay import replay
from fieldstream_central.detect.score import Alarm, LabelledFault, ScoreError, read_truth, score, sensor_days_of
from typer.testing import CliRunner

HOUR = 3_600_000
ASSETS = "device_id,metric,asset_id,asset_type,unit,low_low,low,high,high_high\n"


def write_dataset(folder: Path, limits: str = ",,50,60") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"d,t,{1_000_000 + n * 1000},{20 + (n * 7 % 11) / 10 + (100 if 200 <= n < 260 else 0)},x" for n in range(400)
    ]
    (folder / "readings.csv").write_text("device_id,metric,ts,value,note\n" + "\n".join(rows) + "\n")
    (folder / "assets.csv").write_text(ASSETS + f"d,t,a,pump,Cel,{limits}\n")
    return folder


def test_replay_writes_one_row_per_episode_and_never_opens_the_truth(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "in")
    (folder / "truth.csv").mkdir()  # opening it would fail
    result = CliRunner().invoke(app, ["replay", str(folder), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "anomalies.csv").read_text().splitlines()
    assert lines[0] == ("device_id,metric,asset_id,detector,kind,severity,started_at,detected_at,ended_at,score,reason")
    assert len(lines) == 2
    assert lines[1].startswith("d,t,a,limit,limit-high-high,critical,")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"assets.csv": ASSETS + "d,t,a,pump,Cel,90,,50,60\n"}, "line 2: limits of d/t contradict"),
        ({"assets.csv": ASSETS + "d,t,a,pump,Cel,,,warm,\n"}, "line 2"),
        ({"readings.csv": "device_id,metric,ts\n"}, "no column value"),
        ({"readings.csv": "device_id,metric,ts,value\nd,t,yesterday,1\n"}, "line 2"),
        ({"maintenance.csv": "asset_id,start,end\na,soon,1\n"}, "line 2"),
        ({"readings.csv": "device_id,metric,ts,value\nd,t,1,1\n,t,2,1\n"}, "line 3: a name is empty"),
        ({"readings.csv": "device_id,metric,ts,value\nd,t,1\n"}, "line 2"),
        ({"readings.parquet": "no parquet"}, "remove one"),
    ],
)
def test_bad_dataset_is_refused_by_file_line_and_remedy(spoil: dict[str, str], message: str, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    for name, text in spoil.items():
        (folder / name).write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        replay(open_dataset(folder), DetectionConfig())
    assert next(iter(spoil)) in str(caught.value)


def as_parquet(folder: Path, **columns: pyarrow.Array) -> Path:
    """Turns the folder's readings.csv into readings.parquet, some columns replaced."""
    table = pyarrow.csv.read_csv(folder / "readings.csv")
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pyarrow.parquet.write_table(table, folder / "readings.parquet")
    (folder / "readings.csv").unlink()
    return folder


@pytest.mark.parametrize("stamps", [False, True])
def test_parquet_gives_the_episodes_that_csv_gives(stamps: bool, tmp_path: Path) -> None:
    expected = replay(open_dataset(write_dataset(tmp_path)), DetectionConfig())
    times = pyarrow.array([(1_000_000 + n * 1000) * 1000 for n in range(400)]).cast(pyarrow.timestamp("us", "UTC"))
    folder = as_parquet(tmp_path, **({"ts": times} if stamps else {}))
    assert replay(open_dataset(folder), DetectionConfig()) == expected
    assert sensor_days_of(folder) == pytest.approx(399 / 86_400)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("ts", ["soon"] * 400, "row 0: ts is of type string"),
        ("ts", [1, 2, None] + [4] * 397, "row 3: ts is empty"),
        ("metric", [None] * 400, "row 1: a name is empty"),
        ("value", ["warm"] * 400, "value a number"),
    ],
)
def test_bad_parquet_is_refused_by_file_row_and_remedy(
    column: str, values: list[object], message: str, tmp_path: Path
) -> None:
    folder = as_parquet(write_dataset(tmp_path), **{column: pyarrow.array(values)})
    with pytest.raises(DatasetError, match=message) as caught:
        replay(open_dataset(folder), DetectionConfig())
    assert "readings.parquet" in str(caught.value)


def test_what_is_no_parquet_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "readings.parquet"
    path.write_text("device_id,metric,ts,value\n")
    with pytest.raises(DatasetError, match="or write readings"):
        list(open_dataset(tmp_path).readings())
    pyarrow.parquet.write_table(pyarrow.table({"ts": [1]}), path)
    with pytest.raises(DatasetError, match="no column device_id, metric, value"):
        list(open_dataset(tmp_path).readings())
    with pytest.raises(DatasetError, match="name the folder"):
        open_dataset(tmp_path / "elsewhere")


def test_readings_too_late_are_left_out_counted_and_the_remedy_is_told(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "in")
    with (folder / "readings.csv").open("a") as file:
        file.write("d,t,5000,20,x\nd,t,1399000,20,x\nd,t,1399001,nan,x\n")
    result = CliRunner().invoke(app, ["replay", str(folder), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    left_out = json.loads(result.stdout.splitlines()[-1])["left_out"]
    assert left_out == {"duplicates": 1, "too_late": 1, "not_finite": 1}
    assert "1 readings came more than ten minutes after later ones" in result.output


def test_truth_with_an_unknown_fault_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("device_id,metric,asset_id,kind,amplitude_sigma,start,end\nd,t,a,gremlin,1,0,1\n")
    with pytest.raises(ScoreError, match=r"truth\.csv: line 2: unknown fault kind 'gremlin'"):
        read_truth(path)


def fault(start: int, end: int, metric: str = "t") -> LabelledFault:
    return LabelledFault("d", metric, "a", "shift", 8.0, start, end)


def alarm(at: int, metric: str = "t", device: str = "d") -> Alarm:
    return Alarm(device, metric, "a", "x", at)


def test_first_alarm_detects_later_ones_are_repeats_and_the_grace_is_half_an_hour() -> None:
    result = score([alarm(HOUR + 5), alarm(HOUR + 9), alarm(2 * HOUR + HOUR // 2)], [fault(HOUR, 2 * HOUR)], 1.0)
    assert (result.recall, result.precision, result.repeats_per_event) == (1.0, 1.0, 2.0)
    late = score([alarm(2 * HOUR + HOUR // 2 + 1)], [fault(HOUR, 2 * HOUR)], 1.0)
    assert (late.recall, len(late.false_alarms)) == (0.0, 1)


def test_alarms_of_another_sensor_are_false_and_merge_within_an_hour() -> None:
    alarms = [alarm(HOUR, "u"), alarm(HOUR + 60_000, "u"), alarm(3 * HOUR, "u")]
    result = score(alarms, [fault(HOUR, 4 * HOUR)], 2.0)
    assert (result.recall, len(result.false_alarms), result.false_per_sensor_day) == (0.0, 2, 1.0)


def test_alarm_of_the_whole_asset_counts_for_its_sensor() -> None:
    assert score([alarm(HOUR, "", "")], [fault(HOUR, 2 * HOUR)], 1.0).recall == 1.0


def test_comparison_tells_added_from_removed_alarms(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path))
    live = replay(dataset, DetectionConfig()).episodes.values()
    quiet = DetectionConfig.from_table(
        {"all": {"high": 500.0, "high_high": 500.0, "disabled": ["level-shift", "spike", "noise"]}}, "x"
    )
    other = replay(dataset, quiet).episodes.values()
    change = compare_episodes(live, other)
    assert (len(change.added), len(change.removed)) == (0, 1)
    assert compare_episodes(other, live).figures()["added"] == 1


def test_novelty_sees_no_future() -> None:
    values = [float(n * 7 % 13) for n in range(400)]
    one, two = Novelty(), Novelty()
    whole = [one.score(n * 300.0, value) for n, value in enumerate(values)]
    half = [two.score(n * 300.0, value) for n, value in enumerate(values[:200])]
    assert whole[:200] == half


def test_novelty_of_an_outlier_tops_everything_before_and_is_told_once() -> None:
    novelty = Novelty()
    before = [novelty.score(n * 300.0, n * 7 % 13 / 10) for n in range(600)]
    outlier = novelty.score(600 * 300.0, 50.0)
    assert outlier > max(before)
    assert novelty.score(601 * 300.0, 50.0) == 0.0


def test_nab_layout_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "in" / "realX"
    source.mkdir(parents=True)
    rows = [f"2026-01-01 {n // 60:02d}:{n % 60:02d}:00,{n % 5}" for n in range(300)]
    (source / "f.csv").write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "in"), str(tmp_path / "out"), "--format", "nab"])
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "realX" / "fieldstream_f.csv").read_text().splitlines()
    assert lines[0] == "timestamp,value,anomaly_score"
    assert len(lines) == 301
    assert all(0.0 <= float(line.split(",")[2]) <= 1.0 for line in lines[1:])
