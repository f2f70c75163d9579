package fieldstream;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.BinaryDecoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;

/**
 * One framed Avro reading to one row. A row whose `reason` is not null is a dead letter; `detail` says why.
 *
 * <p>A table function, because SQL may call a scalar function once per column that it yields.
 */
@FunctionHint(output = @DataTypeHint(bridgedTo = RowData.class, value = "ROW<reason STRING, detail STRING, "
        + "gateway_id STRING, epoch BIGINT, seq BIGINT, device_id STRING, metric STRING, ts BIGINT, `value` DOUBLE, "
        + "unit STRING, quality STRING, flags INT, operator STRING, received_at BIGINT, payload BYTES, payload_size BIGINT>"))
public final class DecodeReading extends TableFunction<RowData> {
    private static final int COLUMNS = 16;
    /** Names longer than this are refused: they become Kafka keys and ClickHouse dictionary entries. */
    private static final int LONGEST_NAME = 256;

    /** What a dead letter keeps of the original, bytes. */
    private static final int LONGEST_PAYLOAD = 65_536;

    private transient Schemas schemas;
    private transient Schema ours;
    private transient Map<Integer, GenericDatumReader<GenericRecord>> readers;
    private transient BinaryDecoder decoder;

    @Override
    public void open(FunctionContext context) {
        schemas = new Schemas(context);
        ours = Schemas.own("reading.avsc");
        readers = new HashMap<>();
    }

    public void eval(byte[] value, @DataTypeHint("TIMESTAMP_LTZ(3)") Instant recordTime) {
        if (value == null || value.length <= Schemas.FRAME_BYTES || value[0] != 0) {
            dead(value, "undecodable", "not framed Avro: expected a zero byte, a schema id and a record");
            return;
        }
        int id = ByteBuffer.wrap(value, 1, 4).getInt();
        GenericDatumReader<GenericRecord> reader = readers.get(id);
        if (reader == null) {
            Schema writer = schemas.writer(id);
            if (writer == null) {
                dead(value, "unknown-schema", "the registry knows no schema with id " + id);
                return;
            }
            reader = new GenericDatumReader<>(writer, ours, new GenericData());
            readers.put(id, reader);
        }
        GenericRecord record;
        try {
            decoder = DecoderFactory.get().binaryDecoder(
                    value, Schemas.FRAME_BYTES, value.length - Schemas.FRAME_BYTES, decoder);
            record = reader.read(null, decoder);
            if (!decoder.isEnd()) {
                dead(value, "undecodable", "bytes are left over after the record of schema " + id);
                return;
            }
        } catch (IOException | RuntimeException error) {
            // Avro reports damaged bytes by many exceptions, index and memory limits among them.
            dead(value, "undecodable", "schema " + id + ": " + error.getClass().getSimpleName() + " " + error.getMessage());
            return;
        }
        String broken = brokenRule(record, recordTime.toEpochMilli());
        if (broken != null) {
            GenericRowData letter = letter(value, "rule", broken);
            fill(letter, record); // its place in the gateway's spool: the audit counts it as dead, not as missing
            collect(letter);
        } else {
            GenericRowData row = new GenericRowData(COLUMNS);
            fill(row, record);
            collect(row);
        }
    }

    private static String brokenRule(GenericRecord record, long recordTime) {
        String device = record.get("device_id").toString();
        String metric = record.get("metric").toString();
        if (device.isEmpty() || metric.isEmpty() || device.length() > LONGEST_NAME || metric.length() > LONGEST_NAME) {
            return "device_id and metric must have 1 to " + LONGEST_NAME + " characters";
        }
        if (!Double.isFinite((Double) record.get("value"))) {
            return "value of " + device + "/" + metric + " is not finite";
        }
        if ((Long) record.get("ts") != recordTime) {
            return "the Kafka timestamp " + recordTime + " is not the event time " + record.get("ts");
        }
        return null;
    }

    private static void fill(GenericRowData row, GenericRecord record) {
        row.setField(2, text(record.get("gateway_id")));
        row.setField(3, record.get("epoch"));
        row.setField(4, record.get("seq"));
        row.setField(5, text(record.get("device_id")));
        row.setField(6, text(record.get("metric")));
        row.setField(7, record.get("ts"));
        row.setField(8, record.get("value"));
        row.setField(9, text(record.get("unit")));
        row.setField(10, text(record.get("quality")));
        row.setField(11, record.get("flags"));
        row.setField(12, text(record.get("operator")));
        row.setField(13, record.get("received_at"));
    }

    private static StringData text(Object value) {
        return value == null ? null : StringData.fromString(value.toString());
    }

    private void dead(byte[] value, String reason, String detail) {
        collect(letter(value, reason, detail));
    }

    private static GenericRowData letter(byte[] value, String reason, String detail) {
        GenericRowData row = new GenericRowData(COLUMNS);
        row.setField(0, StringData.fromString(reason));
        row.setField(1, StringData.fromString(detail));
        row.setField(14, value == null ? new byte[0] : Arrays.copyOf(value, Math.min(value.length, LONGEST_PAYLOAD)));
        row.setField(15, value == null ? 0L : (long) value.length);
        return row;
    }
}
