"""Command line of detection; the centre mounts it as `fieldstream detect`."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fieldstream_central.detect.compare import compare_episodes
from fieldstream_central.detect.config import DetectionConfig, DetectionConfigError
from fieldstream_central.detect.dataset import DatasetError, open_dataset
from fieldstream_central.detect.nab import replay_nab
from fieldstream_central.detect.plug_ins import PlugInError, load_plug_ins
from fieldstream_central.detect.replay import Outcome, replay_windows, write_anomalies
from fieldstream_central.detect.replay import replay as replay_dataset
from fieldstream_central.detect.score import Score, ScoreError, read_alarms, read_truth, score, sensor_days_of
from fieldstream_central.detect.stored import StoredRange
from fieldstream_central.store.clickhouse import ClickHouseError

app = typer.Typer(help="Anomaly detection on recorded data.", no_args_is_help=True, pretty_exceptions_enable=False)
_ERRORS = (DatasetError, ScoreError, DetectionConfigError, PlugInError, ClickHouseError, OSError)

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="Folder with readings.csv or .parquet, NAB's folder, or ClickHouse's URL with --from and --to."
    ),
]
FromOption = Annotated[datetime | None, typer.Option("--from", help="First window, UTC, of a range in ClickHouse.")]
ToOption = Annotated[datetime | None, typer.Option("--to", help="End of that range, UTC.")]
ConfigOption = Annotated[Path | None, typer.Option(help="Detection settings, TOML; without it the defaults.")]


def _fail(error: Exception) -> NoReturn:
    Console(stderr=True).print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def _config(path: Path | None) -> DetectionConfig:
    return DetectionConfig.load(path) if path else DetectionConfig()


def _outcome(source: str, config: DetectionConfig, start: datetime | None, end: datetime | None) -> Outcome:
    """Detection over a dataset folder, or over a time range of the store."""
    if not source.startswith(("http://", "https://")):
        return replay_dataset(open_dataset(Path(source)), config)
    if start is None or end is None:
        raise DatasetError(f"{source}: a range of the store needs --from and --to")
    stored = StoredRange(source, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    return replay_windows(stored.windows(), config)


@app.command()
def replay(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the result.")],
    *,
    layout: Annotated[str, typer.Option("--format", help="folder or nab.")] = "folder",
    config: ConfigOption = None,
    from_time: FromOption = None,
    to_time: ToOption = None,
) -> None:
    """Shows what detection would have done on recorded data: one pass, no look-ahead, no label read."""
    try:
        if layout == "nab":
            files = replay_nab(Path(source), out)
            print(json.dumps({"files": files, "out": str(out)}))
            return
        if layout != "folder":
            raise DatasetError(f"--format {layout!r}: use folder or nab")
        outcome = _outcome(source, _config(config), from_time, to_time)
        live = [episode for episode in outcome.episodes.values() if not episode.shadow]
        shadow = [episode for episode in outcome.episodes.values() if episode.shadow]
        rows = write_anomalies(out / "anomalies.csv", live)
        if shadow:
            write_anomalies(out / "shadow.csv", shadow)
    except _ERRORS as error:
        _fail(error)
    if late := outcome.left_out.get("too_late"):
        note = f"{late} readings came more than ten minutes after later ones and were left out: sort the file by ts"
        Console(stderr=True).print(note, soft_wrap=True)
    figures = {"windows": outcome.windows, "episodes": len(live), "rows": rows, "shadow_episodes": len(shadow)}
    print(json.dumps({**figures, "left_out": outcome.left_out, "detector_errors": outcome.errors}))


@app.command("score")
def score_command(
    predictions: Annotated[Path, typer.Argument(help="anomalies.csv, or the folder that holds it.")],
    truth: Annotated[Path, typer.Argument(help="truth.csv, or the dataset folder.")],
    *,
    sensor_days: Annotated[float | None, typer.Option(help="Sensors times days; default: from the readings.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Writes recall by kind as a picture.")] = None,
) -> None:
    """Scores alarms against labelled faults, by kind and amplitude."""
    try:
        folder = truth if truth.is_dir() else truth.parent
        alarms = read_alarms(predictions / "anomalies.csv" if predictions.is_dir() else predictions)
        faults = read_truth(truth / "truth.csv" if truth.is_dir() else truth)
        result = score(alarms, faults, sensor_days if sensor_days is not None else sensor_days_of(folder))
    except _ERRORS as error:
        _fail(error)
    _show(result)
    if plot:
        from fieldstream_central.detect.plots import plot_score

        plot_score(result, plot)


def _show(result: Score) -> None:
    table = Table("kind", "amplitude", "faults", "found", "recall", "delay median s", "delay p95 s", "repeats")
    for row in result.table():
        table.add_row(
            *(row["kind"], row["amplitude"], str(row["faults"]), str(row["found"]), f"{row['recall']:.3f}"),
            *(f"{row['delay_median_s']:.0f}", f"{row['delay_p95_s']:.0f}", str(row["repeats"])),
        )
    Console().print(table)
    figures = {
        "recall": round(result.recall, 4),
        "precision": round(result.precision, 4),
        "false_episodes": len(result.false_alarms),
        "false_per_sensor_day": round(result.false_per_sensor_day, 5),
        "repeats_per_event": round(result.repeats_per_event, 3),
    }
    print(json.dumps(figures))


@app.command()
def compare(
    source: SourceArgument,
    *,
    config: ConfigOption = None,
    candidate: Annotated[Path | None, typer.Option(help="Settings to compare with; default: [shadow].")] = None,
    from_time: FromOption = None,
    to_time: ToOption = None,
) -> None:
    """Shows what other settings or detectors would change: alarms added and removed, per day."""
    try:
        live_config = _config(config)
        other = DetectionConfig.load(candidate) if candidate else live_config.shadow
        if other is None:
            raise DetectionConfigError("nothing to compare with: give --candidate, or settings with a [shadow] table")
        live_config.shadow = None
        before = _outcome(source, live_config, from_time, to_time).episodes.values()
        after = _outcome(source, other, from_time, to_time).episodes.values()
    except _ERRORS as error:
        _fail(error)
    change = compare_episodes(before, after)
    table = Table("change", "device", "metric", "kind", "detected at (epoch ms)", "reason")
    for name, episodes in (("added", change.added), ("removed", change.removed)):
        for episode in episodes:
            table.add_row(
                name, episode.device_id, episode.metric, episode.kind, str(episode.detected_at), episode.reason
            )
    Console().print(table)
    print(json.dumps(change.figures()))


@app.command()
def detectors() -> None:
    """Lists the plug-in detectors that are installed, and tries to load them."""
    try:
        found = load_plug_ins()
    except PlugInError as error:
        _fail(error)
    writer = csv.writer(typer.get_text_stream("stdout"))
    for detector in found:
        writer.writerow((detector.name, detector.version, type(detector).__module__))
