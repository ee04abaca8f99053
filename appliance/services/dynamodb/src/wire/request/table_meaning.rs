//! What the members of table requests mean, once their constraints hold.
//! Invariant: as of the module.

use super::table::{RawElement, RawIndex, RawUnits, Role, word};
use crate::model::schema::{IndexWish, KeyElement, SchemaError};
use crate::model::table::Throughput;
use crate::wire::error::Error;

/// The most units that can be asked for.
const UNITS_MAX: i64 = 1_000_000_000_000;

/// The elements of a key, once the constraints hold.
#[must_use]
pub fn key_elements(elements: Option<&[RawElement<'_>]>) -> Vec<KeyElement> {
    let understood = elements.unwrap_or_default().iter().filter_map(|(name, role)| {
        let role = word::<Role>(role.as_deref()?)?;
        Some(KeyElement { name: name.as_deref()?.into(), is_hash: role.is_hash })
    });
    understood.collect()
}

/// An index, once the constraints hold. Errors: as `understood`.
pub fn index_wish(index: &RawIndex<'_>) -> Result<IndexWish, Error> {
    Ok(IndexWish {
        name: index.name.as_deref().unwrap_or_default().into(),
        keys: key_elements(index.key_schema.as_deref()),
        projection: index.projection.as_deref().and_then(word),
        attributes: index
            .attributes
            .as_ref()
            .map(|attributes| attributes.iter().map(|attribute| (&**attribute).into()).collect()),
        throughput: index.throughput.map(understood).transpose()?,
        on_demand: maxima(index.on_demand),
        warm: readiness(index.warm),
    })
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Error {
        Error::validation(error.0)
    }
}

/// Units once the constraints hold. Errors: ValidationException for what no table can have.
pub fn understood(units: RawUnits) -> Result<Throughput, Error> {
    for (name, value) in [("ReadCapacityUnits", units.read), ("WriteCapacityUnits", units.write)] {
        if value.is_some_and(|value| value > UNITS_MAX) {
            let value = value.unwrap_or_default();
            return Err(Error::validation(format!("Given value {value} for {name} is out of bounds")));
        }
    }
    let of = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    Ok(Throughput { read_units: of(units.read), write_units: of(units.write) })
}

/// Maxima on demand; one that is not given is not limited.
#[must_use]
pub fn maxima(units: Option<RawUnits>) -> Option<(i64, i64)> {
    units.map(|units| (units.read.unwrap_or(-1).max(-1), units.write.unwrap_or(-1).max(-1)))
}

/// What a table or index is to be ready for; what is not said is what it is ready for anyway.
#[must_use]
pub fn readiness(units: Option<RawUnits>) -> Option<Throughput> {
    let of =
        |value: Option<i64>, usual: u64| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(usual);
    units.map(|units| Throughput {
        read_units: of(units.read, READY_READS),
        write_units: of(units.write, READY_WRITES),
    })
}

/// Reads in a second that every table on demand is ready for.
pub const READY_READS: u64 = 12_000;
/// Writes in a second that every table on demand is ready for.
pub const READY_WRITES: u64 = 4_000;
