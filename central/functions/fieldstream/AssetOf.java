package fieldstream;

import java.util.Properties;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;
import org.apache.flink.types.Row;

/**
 * The asset registry's row of one sensor: site, area, asset_id, asset_type, unit and the four limits; empty texts
 * and nulls when the registry does not know it.
 *
 * <p>Not a SQL join: an event-time join would hold every reading back until the watermark passed it, and a regular
 * join would keep every reading for ever (ADR 0008).
 */
public final class AssetOf extends ScalarFunction {
    static final String TYPE = "ROW<site STRING, area STRING, asset_id STRING, asset_type STRING, unit STRING, "
            + "low_low DOUBLE, low DOUBLE, high DOUBLE, high_high DOUBLE>";
    static final Row UNKNOWN = Row.of("", "", "", "", null, null, null, null, null);

    private transient AssetTable assets;

    @Override
    public void open(FunctionContext context) {
        Properties kafka = new Properties();
        kafka.setProperty("bootstrap.servers", context.getJobParameter("fieldstream.kafka", "127.0.0.1:9092"));
        assets = AssetTable.shared(kafka, new Schemas(context));
    }

    @Override
    public boolean isDeterministic() {
        return false;
    }

    @DataTypeHint(TYPE)
    public Row eval(String device, String metric) {
        return assets.get(device + "/" + metric);
    }
}
