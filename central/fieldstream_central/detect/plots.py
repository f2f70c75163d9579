"""Pictures of a score, for people and for the documentation."""

from pathlib import Path

from fieldstream_central.detect.score import Score


def plot_score(result: Score, path: Path) -> None:
    """Recall and median delay by fault kind."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in result.table() if row["amplitude"] == "all" and row["kind"] != "all"]
    names = [f"{row['kind']} ({row['faults']})" for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.35 * len(rows) + 1.2), sharey=True)
    left.barh(names, [row["recall"] for row in rows], color="#3b7a57")
    left.set_xlim(0, 1)
    left.set_xlabel("recall")
    right.barh(names, [row["delay_median_s"] / 60 for row in rows], color="#8a8f99")
    right.set_xlabel("median delay, minutes")
    left.set_title(f"recall {result.recall:.3f}, precision {result.precision:.3f}", loc="left", fontsize=10)
    right.set_title(f"{result.false_per_sensor_day:.4f} false per sensor-day", loc="left", fontsize=10)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
