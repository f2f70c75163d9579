package fieldstream;

import org.apache.flink.metrics.Counter;
import org.apache.flink.table.annotation.ArgumentHint;
import org.apache.flink.table.annotation.ArgumentTrait;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.annotation.StateHint;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.types.Row;

/**
 * Deduplication: passes a reading on if its `seq` is above all before it, per partition (gateway, epoch, device).
 * Within that seq only rises, so one number per device is all that has to be remembered.
 *
 * <p>A process table function rather than SQL's OVER, because the planner would run OVER once per INSERT that uses
 * it: nothing can be pruned through this, so both share one operator and one state.
 */
@FunctionHint(output = @DataTypeHint("ROW<is_first BOOLEAN>"))
public final class FirstOfSeq extends ProcessTableFunction<Row> {
    /** What is remembered per device. */
    public static class Highest {
        public long seq;
    }

    private static final Row FIRST = Row.of(true);

    private transient Counter duplicates;

    @Override
    public void open(FunctionContext context) {
        duplicates = context.getMetricGroup().counter("fieldstream_duplicates");
    }

    public void eval(
            Context context,
            @StateHint Highest highest,
            @ArgumentHint({
                ArgumentTrait.SET_SEMANTIC_TABLE, ArgumentTrait.REQUIRE_ON_TIME, ArgumentTrait.PASS_COLUMNS_THROUGH
            }) Row reading) {
        long seq = reading.<Long>getFieldAs("seq");
        if (seq > highest.seq) {
            highest.seq = seq;
            collect(FIRST);
        } else {
            duplicates.inc();
        }
    }
}
