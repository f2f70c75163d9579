package fieldstream;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/**
 * `asset_of` as a table function, for queries that use several of its columns: SQL calls a scalar function once for
 * each, a table function once per row.
 */
@FunctionHint(output = @DataTypeHint(AssetOf.TYPE))
public final class AssetRow extends TableFunction<Row> {
    private final AssetOf scalar = new AssetOf();

    @Override
    public void open(FunctionContext context) {
        scalar.open(context);
    }

    @Override
    public boolean isDeterministic() {
        return false;
    }

    public void eval(String device, String metric) {
        collect(scalar.eval(device, metric));
    }
}
