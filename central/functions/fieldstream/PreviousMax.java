package fieldstream;

import org.apache.flink.metrics.Counter;
import org.apache.flink.table.functions.AggregateFunction;
import org.apache.flink.table.functions.FunctionContext;

/**
 * Highest value before the current row, null at the first: `seq > previous_max(seq) OVER (...)` keeps each
 * reading once. Within (gateway, epoch, device) seq only rises, so one number per key is all the memory needed.
 */
public final class PreviousMax extends AggregateFunction<Long, PreviousMax.State> {
    /** What is remembered per key. */
    public static class State {
        public Long previous;
        public Long max;
    }

    private transient Counter duplicates;

    @Override
    public void open(FunctionContext context) {
        duplicates = context.getMetricGroup().counter("fieldstream_duplicates");
    }

    @Override
    public State createAccumulator() {
        return new State();
    }

    public void accumulate(State state, Long value) {
        state.previous = state.max;
        if (state.max == null || value > state.max) {
            state.max = value;
        } else {
            duplicates.inc();
        }
    }

    @Override
    public Long getValue(State state) {
        return state.previous;
    }
}
