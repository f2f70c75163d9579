package fieldstream;

import java.util.List;
import java.util.Properties;

import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;

/**
 * The asset registry's row of one sensor; always exactly one row, `known` false and empty texts when there is none.
 *
 * <p>Not a SQL join: an event-time join would hold every reading back until the watermark passed it, and a regular
 * join would keep every reading for ever (ADR 0008).
 */
@FunctionHint(output = @DataTypeHint(bridgedTo = RowData.class, value = "ROW<known BOOLEAN, site STRING, area STRING, "
        + "asset_id STRING, asset_type STRING, unit STRING, low_low DOUBLE, low DOUBLE, high DOUBLE, high_high DOUBLE>"))
public final class AssetOf extends TableFunction<RowData> {
    private static final StringData NONE = StringData.fromString("");
    private static final List<String> LIMITS = List.of("low_low", "low", "high", "high_high");
    private static final RowData UNKNOWN =
            GenericRowData.of(false, NONE, NONE, NONE, NONE, null, null, null, null, null);

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

    public void eval(String device, String metric) {
        RowData row = assets.get(device + "/" + metric);
        collect(row == null ? UNKNOWN : row);
    }

    static RowData row(GenericRecord sensor) {
        GenericRowData row = new GenericRowData(10);
        row.setField(0, true);
        row.setField(1, text(sensor.get("site")));
        row.setField(2, text(sensor.get("area")));
        row.setField(3, text(sensor.get("asset_id")));
        row.setField(4, text(sensor.get("asset_type")));
        row.setField(5, text(sensor.get("unit")));
        for (int i = 0; i < LIMITS.size(); i++) {
            row.setField(6 + i, sensor.get(LIMITS.get(i)));
        }
        return row;
    }

    private static StringData text(Object value) {
        return value == null ? null : StringData.fromString(value.toString());
    }
}
