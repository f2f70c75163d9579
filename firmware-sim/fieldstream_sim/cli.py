"""Command line of the simulator."""

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fieldstream_sim.dataset import labelled_plant, write_dataset
from fieldstream_sim.delivery import Disorder, Progress
from fieldstream_sim.plant import FAULT_KINDS, PlantError, load_plant, parse_fault_option
from fieldstream_sim.publish import BrokerUnreachableError
from fieldstream_sim.random_plant import DATASET_KINDS, Schedule
from fieldstream_sim.replay import RecordingError, parse_time, read_recording
from fieldstream_sim.run import Link, ReplayTarget, Watch, run_plant, run_replay, stop_on_signals

app = typer.Typer(
    help="A simulated sensor fleet with exact ground truth.", no_args_is_help=True, pretty_exceptions_enable=False
)

DEFAULT_RECORDING = "ambient_temperature_system_failure.csv"
# One recorded day per 10 s window. Three weeks of normal days, then the failure of 22 December 2013: 265 s in all.
DEFAULT_SPEEDUP = 8640.0
DEFAULT_FROM = "2013-11-28T00:00:00"
DEFAULT_TO = "2013-12-24T12:00:00"
# Labelled moment (combined_labels.json): 2013-12-22 20:00. The excursion itself starts the day before.
DEFAULT_FAILURE = ("2013-12-21T12:00:00", "2013-12-24T00:00:00")


def _fail(error: Exception) -> NoReturn:
    Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
    raise typer.Exit(2)


def plant_path(name: str) -> Path:
    """A plant file by path, or one of the ready ones by name (demo, pump-hall, cold-store, paint-line)."""
    path = Path(name)
    ready = Path(str(files("fieldstream_sim"))) / "plants" / f"{name.removesuffix('.toml')}.toml"
    return ready if not path.exists() and ready.exists() else path


class _Line:
    """One line of progress, redrawn, when somebody watches."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = Live(Text(title), refresh_per_second=4, transient=True)

    def __call__(self, progress: Progress) -> None:
        state = "" if progress.connected else "   broker away, keeping readings"
        rate = progress.acknowledged / max(progress.elapsed_s, 1.0)
        self._live.update(
            Text(
                f"{self._title}  {progress.elapsed_s:6.0f} s   sent {progress.sent:,}   acknowledged "
                f"{progress.acknowledged:,} ({rate:,.0f}/s)   pending {progress.pending:,}{state}"
            )
        )

    def __enter__(self) -> Watch | None:
        if not sys.stdout.isatty():
            return None
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()


Mqtt = Annotated[str, typer.Option(help="Broker, mqtt://HOST:PORT.")]
Truth = Annotated[Path | None, typer.Option(help="Folder for the ground truth; without it nothing is written.")]
Duration = Annotated[float | None, typer.Option(help="Seconds until the end; without it until Ctrl-C.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
DuplicateShare = Annotated[float, typer.Option(min=0, max=1, help="Share of messages sent twice.")]
LateShare = Annotated[float, typer.Option(min=0, max=1, help="Share of messages sent late.")]
LateBy = Annotated[float, typer.Option(min=0, help="By how many seconds they are late.")]
DisorderS = Annotated[float, typer.Option(min=0, help="Random delay up to this many seconds, so out of order.")]
Malformed = Annotated[int, typer.Option(min=0, help="Rounds of one bad message of each kind.")]


@app.command()
def run(
    plant: Annotated[str, typer.Argument(help="Plant file, or demo, pump-hall, cold-store, paint-line.")],
    *,
    mqtt: Mqtt = "mqtt://127.0.0.1:1883",
    truth: Truth = None,
    duration: Duration = None,
    rate_factor: Annotated[float, typer.Option(min=0.001, help="Every sensor reports this many times as often.")] = 1,
    seed: Seed = 1,
    fault: Annotated[
        list[str] | None, typer.Option(help="device/metric:kind:start_s:duration_s[:amplitude_sigma]; repeatable.")
    ] = None,
    duplicate_share: DuplicateShare = 0.0,
    late_share: LateShare = 0.0,
    late_by: LateBy = 30.0,
    disorder_s: DisorderS = 0.0,
    malformed: Malformed = 0,
) -> None:
    """Runs a plant's fleet against an MQTT broker and records what was sent and acknowledged."""
    disorder = Disorder(
        duplicate_share=duplicate_share,
        late_share=late_share,
        late_by_s=late_by,
        disorder_s=disorder_s,
        malformed_rounds=malformed,
    )
    link = Link(mqtt=mqtt, truth=truth, duration_s=duration, seed=seed, disorder=disorder)
    try:
        loaded = load_plant(plant_path(plant))
        extra = tuple(parse_fault_option(text) for text in fault or ())
        unknown = {(item.device_id, item.metric) for item in extra} - {sensor.key for sensor in loaded.sensors}
        if unknown:
            raise PlantError(f"--fault: no sensor {'/'.join(min(unknown))} in {plant}")
        loaded = replace(loaded, faults=loaded.faults + extra)
        with _Line(f"fleet {loaded.site}") as watch:
            summary = run_plant(loaded, link, stop_on_signals(), rate_factor=rate_factor, watch=watch)
    except (PlantError, BrokerUnreachableError, ValueError) as error:
        _fail(error)
    Console().print_json(data=summary)


@app.command()
def replay(
    file: Annotated[
        Path | None, typer.Argument(help="CSV with timestamp,value; default: the recorded machine failure.")
    ] = None,
    *,
    device: Annotated[str, typer.Option(help="Device id under which the readings are sent.")] = "recorded-machine",
    metric: Annotated[str, typer.Option(help="Metric under which they are sent.")] = "temperature",
    asset: Annotated[str, typer.Option(help="Asset id, for the truth folder.")] = "",
    speedup: Annotated[float | None, typer.Option(min=0.001, help="Recorded seconds per second.")] = None,
    from_time: Annotated[str | None, typer.Option("--from", help="First recorded time, ISO 8601.")] = None,
    to_time: Annotated[str | None, typer.Option("--to", help="Recorded time to stop before.")] = None,
    failure: Annotated[str | None, typer.Option(help="Labelled failure, FROM/TO in recorded time.")] = None,
    mqtt: Mqtt = "mqtt://127.0.0.1:1883",
    truth: Truth = None,
    duration: Duration = None,
    seed: Seed = 1,
    duplicate_share: DuplicateShare = 0.0,
    disorder_s: DisorderS = 0.0,
) -> None:
    """Sends recorded data as if it happened now, at a stated speed-up."""
    disorder = Disorder(duplicate_share=duplicate_share, disorder_s=disorder_s)
    link = Link(mqtt=mqtt, truth=truth, duration_s=duration, seed=seed, disorder=disorder)
    own = file is None
    path = file or Path(str(files("fieldstream_sim"))) / "recordings" / DEFAULT_RECORDING
    if own or path.name == DEFAULT_RECORDING:
        speedup = speedup or DEFAULT_SPEEDUP
        from_time, to_time = from_time or DEFAULT_FROM, to_time or DEFAULT_TO
        failure = failure or "/".join(DEFAULT_FAILURE)
    try:
        recording = read_recording(
            path, parse_time(from_time) if from_time else None, parse_time(to_time) if to_time else None
        )
        labelled = tuple(parse_time(text) for text in failure.split("/")) if failure else None
        if labelled is not None and len(labelled) != 2:
            raise ValueError(f"--failure {failure!r}: write FROM/TO")
        target = ReplayTarget(
            device_id=device,
            metric=metric,
            asset_id=asset,
            speedup=speedup or 1.0,
            failure_ms=(labelled[0], labelled[1]) if labelled else None,
        )
        with _Line(f"replay {path.name}") as watch:
            summary = run_replay(recording, target, link, stop_on_signals(), watch=watch)
    except (RecordingError, BrokerUnreachableError, ValueError) as error:
        _fail(error)
    Console().print_json(data=summary)


@app.command()
def dataset(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    seed: Seed = 1,
    days: Annotated[float, typer.Option(min=0.01, help="Length of the recording.")] = 7.0,
    sensors: Annotated[int, typer.Option(min=1, help="Number of sensors.")] = 60,
    period_ms: Annotated[int, typer.Option(min=100, max=3_600_000, help="Time between readings.")] = 60_000,
    faults_per_sensor_day: Annotated[float, typer.Option(min=0, help="0: a clean recording.")] = 0.12,
    kinds: Annotated[str, typer.Option(help="Fault kinds, separated by commas; empty: all.")] = "",
    amplitude: Annotated[float | None, typer.Option(help="Amplitude of all faults, in noise deviations.")] = None,
    plant: Annotated[str | None, typer.Option(help="A plant file instead of a random plant.")] = None,
) -> None:
    """Writes a labelled dataset without any broker, faster than real time."""
    chosen = tuple(kind for kind in kinds.split(",") if kind) or DATASET_KINDS
    try:
        unknown = set(chosen) - set(FAULT_KINDS)
        if unknown:
            raise PlantError(f"--kinds: unknown {', '.join(sorted(unknown))}; known are {', '.join(FAULT_KINDS)}")
        schedule = Schedule(days=days, faults_per_sensor_day=faults_per_sensor_day, kinds=chosen, amplitude=amplitude)
        drawn = load_plant(plant_path(plant)) if plant else labelled_plant(seed, sensors, period_ms, schedule)
    except PlantError as error:
        _fail(error)
    watching = sys.stdout.isatty()
    with Live(Text(""), refresh_per_second=4, transient=True) as live:

        def show(share: float) -> None:
            if watching:
                live.update(Text(f"dataset {out}  {share:.0%}"))

        summary = write_dataset(drawn, seed, days, out, progress=show)
    Console().print_json(data=summary)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
