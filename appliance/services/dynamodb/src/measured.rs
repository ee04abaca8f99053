//! A door for `bench/instructions`, which counts what the hot paths of items cost. Nothing else goes through it.
//! Leaves to ops: what is done with a request, and where items are stored.

use std::cell::RefCell;

use store::Fault;

use crate::json::{JsonError, Scratch, Writer};
use crate::value::ItemRef;
use crate::wire::request::item::{ItemRequest, Shape};

/// What a core keeps from one request to the next.
pub type Buffers = RefCell<Scratch>;

/// Decodes the body of a GetItem. Gives the bytes of its key.
pub fn read_get_item(buffers: &Buffers, body: &[u8]) -> Result<usize, JsonError> {
    let request = ItemRequest::decode(buffers, body, Shape::Get)?;
    Ok(request.key.map_or(0, |key| key.value.as_bytes().len()))
}

/// Decodes the body of a PutItem. Gives the bytes of its item.
pub fn read_put_item(buffers: &Buffers, body: &[u8]) -> Result<usize, JsonError> {
    let request = ItemRequest::decode(buffers, body, Shape::Put)?;
    Ok(request.item.map_or(0, |item| item.value.as_bytes().len()))
}

/// The item of the body of a PutItem, as it is stored.
pub fn stored_item(body: &[u8]) -> Option<Vec<u8>> {
    let item = ItemRequest::decode(&Buffers::default(), body, Shape::Put).ok()?.item?;
    item.error.is_none().then(|| item.value.into_bytes())
}

/// Writes a stored item as JSON. Gives the bytes of that. Errors: as of `ItemRef::new`.
pub fn write_item(stored: &[u8]) -> Result<usize, Fault> {
    let item = ItemRef::new(stored)?;
    let mut out = Writer::with_capacity(512);
    item.write_json(&mut out);
    Ok(out.into_bytes().len())
}
