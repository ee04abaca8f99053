//! DataFusion over a bucket of the appliance: rows written as Parquet files by partition, read back by another context, which
//! prunes partitions, reads columns by ranges, and sees what was overwritten and what is broken.
//!
//! Takes the appliance and its keys from the environment, as CloudKit does. Ends with 0 only if every answer is right.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;

use cloudkit::object_store::BucketStore;
use cloudkit::prelude::*;
use datafusion::arrow::array::{Array, Float64Array, Int64Array};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use url::Url;

/// Rows that are written, of `PARTITIONS` partitions.
const ROWS: i64 = 2_000_000;
const PARTITIONS: i64 = 4;
const BUCKET: &str = "lake";

/// A context that knows nothing but the bucket.
async fn context() -> Result<(SessionContext, impl ObjectStorage), Box<dyn Error>> {
    let zero = CloudKit::zero().build().await?;
    let storage = zero.storage();
    let context = SessionContext::new();
    let store = BucketStore::new(storage.clone(), BUCKET);
    context.register_object_store(&Url::parse(&format!("zero://{BUCKET}"))?, Arc::new(store));
    Ok((context, storage))
}

async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
    Ok(context.sql(sql).await?.collect().await?)
}

/// Numbers of column `column`, over all batches.
fn numbers(batches: &[RecordBatch], column: usize) -> Vec<i64> {
    let arrays =
        batches.iter().filter_map(|batch| batch.column(column).as_any().downcast_ref::<Int64Array>());
    arrays.flat_map(|array| array.iter().flatten().collect::<Vec<_>>()).collect()
}

const TABLE: &str = "CREATE EXTERNAL TABLE events (id BIGINT, weight DOUBLE, word VARCHAR, part BIGINT)
    STORED AS PARQUET PARTITIONED BY (part) LOCATION 'zero://lake/events/'";

async fn write(context: &SessionContext) -> Result<(), Box<dyn Error>> {
    let sql = format!(
        "COPY (SELECT value AS id, value * 0.5 AS weight, 'word-' || (value % 1000) AS word, value % {PARTITIONS} AS part
         FROM generate_series(1, {ROWS}))
         TO 'zero://{BUCKET}/events/' STORED AS PARQUET PARTITIONED BY (part)"
    );
    let written = rows(context, &sql).await?;
    println!("written: {} batches of counts", written.len());
    Ok(())
}

async fn read(context: &SessionContext) -> Result<(), Box<dyn Error>> {
    rows(context, TABLE).await?;
    let all = rows(context, "SELECT count(*), sum(id), count(DISTINCT word) FROM events").await?;
    let of_all: Vec<i64> = (0..3).flat_map(|column| numbers(&all, column)).collect();
    assert_eq!(of_all, [ROWS, ROWS * (ROWS + 1) / 2, 1_000]);

    let by_part = rows(context, "SELECT part, count(*) AS n FROM events GROUP BY part ORDER BY part").await?;
    assert_eq!(numbers(&by_part, 0), (0..PARTITIONS).collect::<Vec<_>>());
    assert_eq!(numbers(&by_part, 1), vec![ROWS / PARTITIONS; PARTITIONS as usize]);

    let sql = "SELECT id, weight FROM events WHERE part = 3 AND id BETWEEN 999 AND 1010 ORDER BY id";
    let some = rows(context, sql).await?;
    assert_eq!(numbers(&some, 0), [999, 1_003, 1_007]);
    let weights: Vec<f64> = some
        .iter()
        .filter_map(|batch| batch.column(1).as_any().downcast_ref::<Float64Array>())
        .flat_map(|array| array.values().to_vec())
        .collect();
    assert_eq!(weights, [499.5, 501.5, 503.5]);

    let plan = rows(context, &format!("EXPLAIN {sql}")).await?;
    let plan = datafusion::arrow::util::pretty::pretty_format_batches(&plan)?.to_string();
    assert!(plan.contains("part=3") && !plan.contains("part=2"), "partitions are not pruned:\n{plan}");
    Ok(())
}

/// A file that is cut short is an error, and no fewer rows.
async fn read_broken(context: &SessionContext, storage: &impl ObjectStorage) -> Result<(), Box<dyn Error>> {
    let listed = storage.list_objects(BUCKET, ListOptions::new().prefix("events/part=0/")).await?;
    let broken = listed.items.first().ok_or("partition 0 has no file")?;
    let whole = storage.get_object(BUCKET, &broken.key).await?;
    storage.put_object(BUCKET, &broken.key, &whole[..whole.len() / 2]).await?;
    rows(context, TABLE).await?;
    let refused = rows(context, "SELECT sum(id) FROM events").await;
    assert!(refused.is_err(), "half a file is read as if it were whole");
    storage.put_object(BUCKET, &broken.key, &whole).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (writer, storage) = context().await?;
    if !storage.bucket_exists(BUCKET).await? {
        storage.create_bucket(BUCKET).await?;
    }
    write(&writer).await?;
    let (reader, storage) = context().await?;
    read(&reader).await?;
    // One that has looked at no file yet.
    let (fresh, _) = context().await?;
    read_broken(&fresh, &storage).await?;
    println!("DataFusion reads what it wrote");
    Ok(())
}
