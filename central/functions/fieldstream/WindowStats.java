package fieldstream;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.AggregateFunction;
import org.apache.flink.types.Row;

/**
 * Statistics of a window in one pass: mean and population deviation after Welford (1962), because the sums of
 * squares that SQL's STDDEV keeps cancel out on large offsets; first and last by event time, not by arrival.
 */
@FunctionHint(output = @DataTypeHint("ROW<n BIGINT, mean DOUBLE, stddev DOUBLE, smallest DOUBLE, largest DOUBLE, "
        + "earliest DOUBLE, latest DOUBLE, first_ts BIGINT, last_ts BIGINT, revision BIGINT>"))
public final class WindowStats extends AggregateFunction<Row, WindowStats.State> {
    /** Running statistics of one window. */
    public static class State {
        public long n;
        public double mean;
        public double squares;
        public double min;
        public double max;
        public double first;
        public double last;
        public long firstTs;
        public long lastTs;
    }

    @Override
    public State createAccumulator() {
        return new State();
    }

    public void accumulate(State state, Double value, Long ts) {
        boolean start = state.n == 0;
        state.n++;
        double delta = value - state.mean;
        state.mean += delta / state.n;
        state.squares += delta * (value - state.mean);
        if (start || value < state.min) {
            state.min = value;
        }
        if (start || value > state.max) {
            state.max = value;
        }
        if (start || ts < state.firstTs) {
            state.firstTs = ts;
            state.first = value;
        }
        if (start || ts > state.lastTs) {
            state.lastTs = ts;
            state.last = value;
        }
    }

    @Override
    public Row getValue(State state) {
        return Row.of(state.n, state.mean, Math.sqrt(Math.max(0, state.squares / state.n)), state.min, state.max,
                state.first, state.last, state.firstTs, state.lastTs, state.n);
    }
}
