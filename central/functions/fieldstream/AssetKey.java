package fieldstream;

import java.io.IOException;
import java.nio.ByteBuffer;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * What detection is keyed by: like assets of one site, else the asset of a framed window, or its device when it has
 * none; "?" for bytes that are no window. The same rule as cohort_key in detect/cohort.py.
 */
public final class AssetKey extends ScalarFunction {
    private static final String UNREADABLE = "?";

    private transient Schemas schemas;
    private transient Schema ours;

    @Override
    public void open(FunctionContext context) {
        schemas = new Schemas(context);
        ours = Schemas.own("window.avsc");
    }

    public String eval(byte[] value) {
        if (value == null || value.length <= Schemas.FRAME_BYTES || value[0] != 0) {
            return UNREADABLE;
        }
        Schema writer = schemas.writer(ByteBuffer.wrap(value, 1, 4).getInt());
        if (writer == null) {
            return UNREADABLE;
        }
        try {
            GenericRecord window = new GenericDatumReader<GenericRecord>(writer, ours).read(null, DecoderFactory.get()
                    .binaryDecoder(value, Schemas.FRAME_BYTES, value.length - Schemas.FRAME_BYTES, null));
            String asset = window.get("asset_id").toString();
            String type = window.get("asset_type").toString();
            if (!asset.isEmpty() && !type.isEmpty()) {
                return window.get("site") + "/" + type;
            }
            return asset.isEmpty() ? window.get("device_id").toString() : asset;
        } catch (IOException | RuntimeException damaged) {
            return UNREADABLE;
        }
    }
}
