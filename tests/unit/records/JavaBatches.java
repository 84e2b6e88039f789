// Writes the batches of java_batches.tsv with the classes of Kafka's own client, and reads any others:
//   java -cp 'kafka-clients-3.9.1.jar:lz4-java.jar:snappy-java.jar:zstd-jni.jar:slf4j-api.jar' JavaBatches.java write
//   ... JavaBatches.java read < hex lines      one line a record: offset, timestamp, key, value (hex, or null)

import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Scanner;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;

public class JavaBatches {
    static final long TIME = 1_700_000_000_000L;

    static SimpleRecord[] records(boolean headers) {
        Header[] some = {new RecordHeader("h", "x".getBytes()), new RecordHeader("n", (byte[]) null)};
        Header[] none = new Header[0];
        return new SimpleRecord[] {
            new SimpleRecord(TIME, "key".getBytes(), "value".getBytes(), headers ? some : none),
            new SimpleRecord(TIME + 5000, null, "no key".repeat(30).getBytes(), none),
            new SimpleRecord(TIME - 7, "tombstone".getBytes(), null, none),
        };
    }

    static void write() {
        for (byte magic = 0; magic <= 2; magic++) {
            for (CompressionType codec : CompressionType.values()) {
                if (codec == CompressionType.ZSTD && magic < 2) continue;
                for (TimestampType type : new TimestampType[] {TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME}) {
                    if (magic == 0 && type == TimestampType.LOG_APPEND_TIME) continue;
                    MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(4096), magic,
                        Compression.of(codec).build(), type, 40L, TIME + 99);
                    for (SimpleRecord record : records(magic == 2)) builder.append(record);
                    print("v" + magic + "\t" + codec.name + "\t" + type.name, builder.build());
                }
            }
        }
        print("v2\tmarker\tCreateTime", MemoryRecords.withEndTransactionMarker(40L, TIME, 3, 9L, (short) 2,
            new EndTransactionMarker(ControlRecordType.COMMIT, 12)));
    }

    static void print(String name, MemoryRecords records) {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        System.out.println(name + "\t" + HexFormat.of().formatHex(bytes));
    }

    static String text(ByteBuffer buffer) {
        if (buffer == null) return "null";
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    static void read() {
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(lines.nextLine())));
            for (RecordBatch batch : records.batches()) {
                batch.ensureValid();
                for (Record record : batch)
                    System.out.println(record.offset() + "\t" + record.timestamp() + "\t" + text(record.key())
                        + "\t" + text(record.value()) + "\t" + record.headers().length);
            }
            System.out.println();
        }
    }

    public static void main(String[] args) {
        if (args[0].equals("write")) write(); else read();
    }
}
