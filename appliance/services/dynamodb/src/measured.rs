//! A door for `bench/instructions`, which counts what reading and writing items costs. Nothing else goes through it.
//! Leaves to wire/: the members of real requests, of which these have the two that take the time.

use std::cell::RefCell;

use store::Fault;

use crate::json::{JsonError, Reader, Scratch, Writer, read_item};
use crate::value::{Item, ItemRef};

/// What a core keeps from one request to the next.
pub type Buffers = RefCell<Scratch>;

/// Reads the body of a request that has a `TableName` and an item as `member`. Gives the bytes of the item's encoding.
pub fn read(buffers: &Buffers, body: &[u8], member: &str) -> Result<usize, JsonError> {
    Ok(read_body(buffers, body, member)?.as_bytes().len())
}

/// The item of such a body, as it is stored.
pub fn stored(body: &[u8], member: &str) -> Result<Vec<u8>, JsonError> {
    Ok(read_body(&Buffers::default(), body, member)?.into_bytes())
}

/// Writes a stored item as JSON. Gives the bytes of that. Errors: as of `ItemRef::new`.
pub fn write(stored: &[u8]) -> Result<usize, Fault> {
    let item = ItemRef::new(stored)?;
    let mut out = Writer::with_capacity(512);
    item.write_json(&mut out);
    Ok(out.into_bytes().len())
}

fn read_body(buffers: &Buffers, body: &[u8], member: &str) -> Result<Item, JsonError> {
    let mut reader = Reader::with_scratch(body, buffers.take())?;
    let (mut table_name, mut item) = (None, None);
    reader.structure("Input", &mut |name, value| {
        match name {
            "TableName" => table_name = Some(value.string()?),
            _ if name == member => item = Some(read_item(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (ended, scratch) = reader.finish_with_scratch();
    buffers.replace(scratch);
    ended?;
    let read = item.filter(|read| read.error.is_none() && table_name.is_some());
    read.map(|read| read.value).ok_or(JsonError::Syntax)
}
