package fieldstream;

import java.util.Properties;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;

/**
 * The asset registry's row of one sensor: site, area, asset_id, asset_type, unit and the four limits; empty texts
 * and nulls when the registry does not know it.
 *
 * <p>Not a SQL join: an event-time join would hold every reading back until the watermark passed it, and a regular
 * join would keep every reading for ever (ADR 0008). A table function, because SQL calls a scalar function once for
 * each column of it that a query uses.
 */
@FunctionHint(output = @DataTypeHint(bridgedTo = RowData.class, value = "ROW<site STRING, area STRING, "
        + "asset_id STRING, asset_type STRING, unit STRING, low_low DOUBLE, low DOUBLE, high DOUBLE, high_high DOUBLE>"))
public final class AssetRow extends TableFunction<RowData> {
    private static final String[] PROPERTIES = {"bootstrap.servers", "security.protocol", "ssl.keystore.type",
        "ssl.keystore.location", "ssl.truststore.type", "ssl.truststore.location"};

    private transient AssetTable assets;

    @Override
    public void open(FunctionContext context) {
        Properties kafka = new Properties();
        for (String name : PROPERTIES) {
            String value = context.getJobParameter("fieldstream.kafka." + name, "");
            if (!value.isEmpty()) {
                kafka.setProperty(name, value);
            }
        }
        assets = AssetTable.shared(kafka, new Schemas(context));
    }

    @Override
    public boolean isDeterministic() {
        return false;
    }

    public void eval(String device, String metric) {
        collect(assets.get(device + "/" + metric));
    }
}
