package fieldstream;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumWriter;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.BinaryEncoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.EncoderFactory;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.InputGroup;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;
import org.apache.flink.types.Row;

/**
 * Columns to framed Avro: `encode_record(schema, field, ...)`, the fields in the schema's order; a ROW stands for
 * its fields. Timestamps may be
 * milliseconds or TIMESTAMP_LTZ. The schema's id comes from the job parameter fieldstream.schema-id.SCHEMA, so
 * nothing is ever registered by a job.
 */
public final class EncodeRecord extends ScalarFunction {
    private transient FunctionContext context;
    private transient Map<String, Encoder> encoders;

    @Override
    public void open(FunctionContext opened) {
        context = opened;
        encoders = new HashMap<>();
    }

    @DataTypeHint("BYTES")
    public byte[] eval(String schema, @DataTypeHint(inputGroup = InputGroup.ANY) Object... fields) throws IOException {
        return encoders.computeIfAbsent(schema, name -> new Encoder(name, context)).encode(fields);
    }

    private static final class Encoder {
        private final Schema schema;
        private final List<Schema.Field> fields;
        private final byte[] frame;
        private final GenericDatumWriter<GenericRecord> writer;
        private final ByteArrayOutputStream buffer = new ByteArrayOutputStream(256);
        private BinaryEncoder binary;

        Encoder(String name, FunctionContext context) {
            schema = Schemas.own(name + ".avsc");
            fields = schema.getFields();
            writer = new GenericDatumWriter<>(schema, new GenericData());
            String id = context.getJobParameter("fieldstream.schema-id." + name, null);
            if (id == null) {
                throw new IllegalStateException("job parameter fieldstream.schema-id." + name + " is not set");
            }
            frame = ByteBuffer.allocate(Schemas.FRAME_BYTES).put((byte) 0).putInt(Integer.parseInt(id)).array();
        }

        byte[] encode(Object[] values) throws IOException {
            GenericRecord record = new GenericData.Record(schema);
            int next = 0;
            for (Object value : values) {
                if (value instanceof Row row) {
                    for (int i = 0; i < row.getArity(); i++) {
                        record.put(next++, avro(row.getField(i)));
                    }
                } else {
                    record.put(next++, avro(value));
                }
            }
            if (next != fields.size()) {
                throw new IllegalArgumentException(
                        schema.getName() + " has " + fields.size() + " fields, the query gives " + next);
            }
            buffer.reset();
            buffer.write(frame);
            binary = EncoderFactory.get().binaryEncoder(buffer, binary);
            writer.write(record, binary);
            binary.flush();
            return buffer.toByteArray();
        }

        private static Object avro(Object value) {
            if (value instanceof Instant instant) {
                return instant.toEpochMilli();
            }
            if (value instanceof byte[] bytes) {
                return ByteBuffer.wrap(bytes);
            }
            return value;
        }
    }
}
