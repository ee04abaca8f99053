//! Figures over time, and alarms.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricDatum {
    /// What it measures.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: MetricUnit,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// What tells it from others of its name.
    pub dimensions: Metadata,
}

impl MetricDatum {
    /// A figure of now, without a unit.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
            unit: MetricUnit::None,
            timestamp: Utc::now(),
            dimensions: Metadata::new(),
        }
    }

    /// Sets the unit.
    pub fn with_unit(mut self, unit: MetricUnit) -> Self {
        self.unit = unit;
        self
    }

    /// Adds what tells it from others of its name.
    pub fn with_dimension(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.dimensions.insert(key.into(), value.into());
        self
    }
}

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum MetricUnit {
    /// A plain number.
    #[default]
    None,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Bytes.
    Bytes,
    /// Thousands of bytes.
    Kilobytes,
    /// Millions of bytes.
    Megabytes,
    /// Billions of bytes.
    Gigabytes,
    /// Things.
    Count,
    /// Hundredths.
    Percent,
    /// Bytes in a second.
    BytesPerSecond,
    /// Things in a second.
    CountPerSecond,
}

/// Which figures are read, and how they are summed up.
#[derive(Debug, Clone, Default)]
pub struct MetricQuery {
    /// What they measure.
    pub name: String,
    /// From when.
    pub start_time: Option<DateTime<Utc>>,
    /// Until when.
    pub end_time: Option<DateTime<Utc>>,
    /// How many seconds one point sums up.
    pub period_seconds: u32,
    /// How a point sums up.
    pub statistic: MetricStatistic,
    /// What tells them from others of their name.
    pub dimensions: Metadata,
}

/// How figures are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricStatistic {
    /// Their mean.
    #[default]
    Average,
    /// Their sum.
    Sum,
    /// The least.
    Minimum,
    /// The greatest.
    Maximum,
    /// How many there are.
    SampleCount,
}

/// Figures that were read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricResult {
    /// What they measure.
    pub name: String,
    /// The points in the order of time.
    pub data_points: Vec<MetricDataPoint>,
}

/// One point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricDataPoint {
    /// When.
    pub timestamp: DateTime<Utc>,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: MetricUnit,
}

/// How an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AlarmState {
    /// All is well.
    Ok,
    /// The threshold was crossed.
    Alarm,
    /// There are too few figures to tell.
    InsufficientData,
}

/// When an alarm goes off.
#[derive(Debug, Clone)]
pub struct AlarmConfig {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The figures that it watches.
    pub metric_name: String,
    /// What they are compared with.
    pub threshold: f64,
    /// How they are compared.
    pub comparison: ComparisonOperator,
    /// How many periods in a row must be so.
    pub evaluation_periods: u32,
    /// How many seconds a period has.
    pub period_seconds: u32,
    /// How a period sums up.
    pub statistic: MetricStatistic,
    /// What tells the figures from others of their name.
    pub dimensions: Metadata,
}

/// How a figure is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComparisonOperator {
    /// It is greater.
    GreaterThan,
    /// It is greater or equal.
    GreaterThanOrEqual,
    /// It is less.
    LessThan,
    /// It is less or equal.
    LessThanOrEqual,
}

/// Figures over time, and alarms.
#[async_trait]
pub trait MetricsService: Send + Sync {
    /// Adds figures.
    async fn put_metric_data(&self, namespace: &str, data: Vec<MetricDatum>) -> CloudResult<()>;

    /// Reads figures.
    async fn get_metric_data(&self, namespace: &str, query: MetricQuery) -> CloudResult<MetricResult>;

    /// What is measured, in one namespace or in all.
    async fn list_metrics(&self, namespace: Option<&str>) -> CloudResult<Vec<String>>;

    /// Makes or changes an alarm.
    async fn put_alarm(&self, namespace: &str, config: AlarmConfig) -> CloudResult<()>;

    /// Deletes an alarm.
    async fn delete_alarm(&self, name: &str) -> CloudResult<()>;

    /// How an alarm stands.
    async fn get_alarm_state(&self, name: &str) -> CloudResult<AlarmState>;

    /// What this provider's figures can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::MetricsService)
    }
}
