// What Grafana's data source does with clickhouse-go over HTTP: connect, insert, read, be told of an error.
// Prints one line per compression method; any failure ends it with status 2.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func main() {
	methods := map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4,
		"zstd": clickhouse.CompressionZSTD, "gzip": clickhouse.CompressionGZIP,
	}
	for name, method := range methods {
		conn, err := clickhouse.Open(&clickhouse.Options{
			Protocol:    clickhouse.HTTP,
			Addr:        []string{os.Args[1]},
			Compression: &clickhouse.Compression{Method: method},
			DialTimeout: 5 * time.Second,
		})
		check(err)
		run(name, conn)
		check(conn.Close())
	}
}

func run(name string, conn clickhouse.Conn) {
	ctx := context.Background()
	check(conn.Exec(ctx, "DROP TABLE IF EXISTS go_contract"))
	check(conn.Exec(ctx, "CREATE TABLE go_contract (a UInt32, b String, c DateTime64(3), d Nullable(Float64)) ENGINE = Memory"))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO go_contract")
	check(err)
	for i := 0; i < 1000; i++ {
		value := 1.5
		check(batch.Append(uint32(i), fmt.Sprint("row ", i), time.UnixMilli(1700000000123), &value))
	}
	check(batch.Send())
	var rows uint64
	var newest time.Time
	check(conn.QueryRow(ctx, "SELECT count(), max(c) FROM go_contract").Scan(&rows, &newest))
	read := 0
	answer, err := conn.Query(ctx, "SELECT number, toString(number) FROM numbers(200000)")
	check(err)
	for answer.Next() {
		var number uint64
		var text string
		check(answer.Scan(&number, &text))
		read++
	}
	check(answer.Err())
	refused := conn.QueryRow(ctx, "SELECT nope").Scan(&rows)
	check(conn.Exec(ctx, "DROP TABLE go_contract"))
	fmt.Println(name, rows, newest.UnixMilli(), read, refused != nil)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
