package fieldstream;

import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.api.dataview.MapView;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * Tumbling windows by event time: one row when a window closes, and one more for each batch of readings that comes
 * late, until the allowed lateness after the window's end. Later readings are counted and left to the repair in ClickHouse.
 *
 * <p>Job parameters: fieldstream.window-ms, which divides a minute, and fieldstream.allowed-lateness-ms.
 *
 * <p>Rows are only ever added: a correction is a row with a higher `revision`. Statistics in one pass: mean and
 * population deviation after Welford (1962), because sums of squares cancel out on large offsets; first and last by
 * event time, not by arrival.
 *
 * <p>Why not SQL's own windows: TUMBLE as a table function drops what is late, and the group window corrects by a
 * deletion and a new row for every single reading (ADR 0040).
 */
@FunctionHint(output = @DataTypeHint("ROW<start_ms BIGINT, stats ROW<n BIGINT, mean DOUBLE, stddev DOUBLE, "
        + "smallest DOUBLE, largest DOUBLE, earliest DOUBLE, latest DOUBLE, first_ts BIGINT, last_ts BIGINT, "
        + "revision BIGINT>>"))
public final class CorrectedWindows extends ProcessTableFunction<Row> {
    /** Running statistics of one window. */
    public static class Window {
        public long n;
        public double mean;
        public double squares;
        public double min;
        public double max;
        public double first;
        public double last;
        public long firstTs;
        public long lastTs;

        void add(double value, long ts) {
            boolean start = n == 0;
            n++;
            double delta = value - mean;
            mean += delta / n;
            squares += delta * (value - mean);
            min = start ? value : Math.min(min, value);
            max = start ? value : Math.max(max, value);
            if (start || ts < firstTs) {
                firstTs = ts;
                first = value;
            }
            if (start || ts > lastTs) {
                lastTs = ts;
                last = value;
            }
        }

        Row row() {
            double deviation = Math.sqrt(Math.max(0, squares / n));
            return Row.of(n, mean, deviation, min, max, first, last, firstTs, lastTs, n);
        }
    }

    /** Old windows are forgotten by the minute: a timer for each would cost more than the window. */
    private static final long FORGET_EVERY_MS = 60_000;

    private transient long sizeMs;
    private transient long latenessMs;
    private transient Counter tooLate;
    private transient Counter late;

    @Override
    public void open(FunctionContext context) {
        sizeMs = Long.parseLong(context.getJobParameter("fieldstream.window-ms", ""));
        latenessMs = Long.parseLong(context.getJobParameter("fieldstream.allowed-lateness-ms", ""));
        tooLate = context.getMetricGroup().counter("fieldstream_too_late_readings");
        late = context.getMetricGroup().counter("fieldstream_late_readings");
    }

    public void eval(
            Context context,
            @StateHint MapView<Long, Window> windows,
            @ArgumentHint({ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME}) Row reading)
            throws Exception {
        TimeContext<Long> time = context.timeContext(Long.class);
        long ts = time.time();
        long start = ts - Math.floorMod(ts, sizeMs);
        long end = start + sizeMs;
        Long watermark = time.currentWatermark();
        if (watermark != null && watermark >= end + latenessMs) {
            tooLate.inc();
            return;
        }
        boolean isLate = watermark != null && watermark >= end;
        Window window = windows.get(start);
        if (window == null) {
            window = new Window();
            // Timers have no names where their time says it all: the state of a name costs more than the timer.
            time.registerOnTime(end + latenessMs + Math.floorMod(-end - latenessMs, FORGET_EVERY_MS));
            if (!isLate) {
                time.registerOnTime(end);
            }
        }
        window.add(reading.getFieldAs("value"), ts);
        windows.put(start, window);
        if (isLate) {
            late.inc();
            // It waits for the next watermark: what came late together makes one correction.
            time.registerOnTime(Long.toString(start), watermark + 1);
        }
    }

    public void onTimer(OnTimerContext context, MapView<Long, Window> windows) throws Exception {
        long time = context.timeContext(Long.class).time();
        String corrected = context.currentTimer();
        long start = corrected == null ? time - sizeMs : Long.parseLong(corrected);
        Window window = windows.get(start);
        if (window != null) {
            collect(Row.of(start, window.row()));
        }
        if (corrected == null && time % FORGET_EVERY_MS == 0) {
            for (long end = time - latenessMs; end > time - latenessMs - FORGET_EVERY_MS; end -= sizeMs) {
                windows.remove(end - sizeMs);
            }
        }
    }
}
