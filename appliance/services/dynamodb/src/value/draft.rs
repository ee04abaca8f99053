//! Where a value or an item is put together, in one pass and in any order of names, and AWS's size counted meanwhile.
//!
//! Everything is appended to one buffer as it comes. A map whose names came in order is left as it is; one whose names
//! did not is remembered with the places of its attributes, sorted, and `finish_item` copies them to where they
//! belong. So each byte is copied once, however deep the maps lie in one another and however their names came.
//!
//! Invariant: of two attributes of one name in one map the later stays, and neither the totals nor the size of what is
//! around count the other.
//! Leaves to its users: that names and values alternate in maps. To json/: what may be in a request.

use std::cmp::Ordering;
use std::ops::Range;

use super::encoding::{
    CONTAINER_HEAD_BYTES, ITEM_HEAD_BYTES, TAG_B, TAG_BS_EMPTY, TAG_FALSE, TAG_L, TAG_M, TAG_N, TAG_NULL,
    TAG_S, TAG_SS_EMPTY, TAG_TRUE, VERSION, put_varint, set_tag, varint_bytes,
};
use super::{Item, Kind, Value};
use crate::number::{Digits, aws_bytes_of_sortable};

/// A value or an item on its way to its encoding. Its buffers are kept for the next one.
#[derive(Default)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// The attributes of the maps that are open, of inner ones behind those of outer ones.
    attributes: Vec<Attribute>,
    /// The lists and maps that are open.
    open: Vec<Open>,
    /// The maps whose names came in another order.
    moved: Vec<Moved>,
    /// Their attributes, as they belong.
    sorted: Vec<Attribute>,
    /// The members of the set that is open, one behind the other.
    members: Vec<u8>,
    member_places: Vec<Range<u32>>,
    /// AWS's size so far.
    aws_bytes: u32,
    /// Bytes of attributes that a later one of the same name replaced.
    dropped_bytes: u32,
    /// Where those lie.
    dropped: Vec<Range<u32>>,
    /// Whether attributes on the first level are those of an item.
    is_item: bool,
}

/// A list or a map that is open.
struct Open {
    start: u32,
    is_map: bool,
    in_order: bool,
    attributes_from: u32,
    /// As they were in front of it.
    dropped_before: u32,
}

/// An attribute where it was appended.
#[derive(Clone, Copy)]
struct Attribute {
    start: u32,
    end: u32,
    name_start: u32,
    name_bytes: u32,
    /// What it takes without what was dropped inside; until it is complete, what was dropped in front of it.
    size: u32,
    /// What it counts; until it is complete, what counted in front of it.
    aws_bytes: u32,
    /// How many maps had moved in front of it.
    moved_before: u32,
    /// Whether one has moved inside of it.
    has_moved: bool,
    /// The beginning of the name, whose order as a number is that of its bytes.
    prefix: u64,
}

/// A map whose attributes do not lie in order.
struct Moved {
    start: u32,
    end: u32,
    /// Of all its attributes as they belong.
    total: u32,
    sorted: Range<usize>,
}

/// A place to go back to.
pub(crate) struct Mark {
    bytes: usize,
    attributes: usize,
    moved: usize,
    sorted: usize,
    aws_bytes: u32,
    dropped_bytes: u32,
    dropped: usize,
}

/// What became of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetOutcome {
    /// It is a value now.
    Complete,
    /// It had no member.
    Empty,
    /// It had one twice.
    Duplicate,
}

impl Draft {
    /// Begins an item: attributes follow.
    pub(crate) fn begin_item(&mut self) {
        self.clear();
        self.is_item = true;
        // Enough for most items, so that the buffers do not grow in steps.
        self.bytes.reserve(RESERVED_BYTES);
        self.attributes.reserve(RESERVED_COUNT);
        self.bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        self.open_container(true, 0);
    }

    /// Begins a value that stands alone.
    pub(crate) fn begin_value(&mut self) {
        self.clear();
    }

    /// The item. All that was begun in it has ended.
    pub(crate) fn finish_item(&mut self) -> Item {
        let open = self.open.pop().expect("an item was begun");
        assert!(self.open.is_empty(), "a list or map of the item is open");
        self.finish_attribute(&open);
        let in_order = self.settle_map(&open);
        let mut out;
        if in_order && self.moved.is_empty() {
            out = if self.bytes.capacity() <= RESERVED_BYTES {
                std::mem::take(&mut self.bytes)
            } else {
                self.bytes.clone()
            };
        } else {
            out = Vec::with_capacity(self.bytes.len() - self.dropped_bytes as usize);
            out.extend_from_slice(&self.bytes[..ITEM_HEAD_BYTES]);
            self.moved.sort_unstable_by_key(|moved| moved.start);
            match self.moved.first() {
                // The item itself is the first of them, as it starts first.
                Some(first) if !in_order => self.copy_sorted(first.sorted.clone(), &mut out),
                _ => self.copy(ITEM_HEAD_BYTES as u32, self.here(), &mut out),
            }
        }
        Item::from_parts(out, self.aws_bytes)
    }

    /// The value. All that was begun in it has ended.
    pub(crate) fn finish_value(&mut self) -> Value {
        assert!(self.open.is_empty(), "a list or map of the value is open");
        if self.moved.is_empty() {
            return Value::from_encoded(self.bytes.clone());
        }
        let mut out = Vec::with_capacity(self.bytes.len() - self.dropped_bytes as usize);
        self.moved.sort_unstable_by_key(|moved| moved.start);
        self.copy(0, self.here(), &mut out);
        Value::from_encoded(out)
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u32 {
        self.here()
    }

    /// Whether what went to `position` belongs to an attribute that a later one of its name replaced.
    pub(crate) fn is_dropped(&self, position: u32) -> bool {
        self.dropped.iter().any(|range| range.contains(&position))
    }

    /// How many lists, maps and items are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether a map or item is what is open innermost.
    pub(crate) fn is_in_map(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_map)
    }

    /// Begins an attribute of the open map; its value follows.
    pub(crate) fn name(&mut self, name: &[u8]) {
        let Some(index) = self.open.len().checked_sub(1) else { return };
        self.finish_last_attribute(index);
        let start = self.here();
        let aws_before = self.aws_bytes;
        let length = length(name);
        put_varint(length, &mut self.bytes);
        let name_start = self.here();
        self.bytes.extend_from_slice(name);
        // AWS counts one more for each attribute of a map, but not of an item.
        self.count(length.saturating_add(u32::from(index > 0 || !self.is_item)));
        let attribute = Attribute {
            start,
            end: start,
            name_start,
            name_bytes: length,
            size: self.dropped_bytes,
            aws_bytes: aws_before,
            moved_before: self.moved.len() as u32,
            has_moved: false,
            prefix: prefix(name),
        };
        let open = &mut self.open[index];
        if open.in_order
            && let Some(before) = self.attributes[open.attributes_from as usize..].last()
        {
            open.in_order = compare(&self.bytes, before, &attribute) == Ordering::Less;
        }
        self.attributes.push(attribute);
    }

    /// Begins an element of the open list; the value follows.
    pub(crate) fn element(&mut self) {
        self.count(1);
    }

    /// A null.
    pub(crate) fn null(&mut self) {
        self.count(1);
        self.bytes.push(TAG_NULL);
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, value: bool) {
        self.count(1);
        self.bytes.push(if value { TAG_TRUE } else { TAG_FALSE });
    }

    /// A string.
    pub(crate) fn string(&mut self, text: &str) {
        self.field(TAG_S, text.as_bytes());
    }

    /// A binary.
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.field(TAG_B, bytes);
    }

    /// A binary of `length` bytes that `write` appends.
    pub(crate) fn binary_with<E>(
        &mut self,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.count(length);
        if !self.has_room() {
            self.bytes.push(TAG_NULL);
            return Ok(());
        }
        self.bytes.push(TAG_B);
        put_varint(length, &mut self.bytes);
        write(&mut self.bytes)
    }

    /// A number.
    pub(crate) fn number(&mut self, number: &Digits) {
        self.count(number.aws_bytes());
        let sortable = number.sortable();
        let sortable = sortable.as_bytes();
        self.bytes.extend_from_slice(&[TAG_N, sortable.len() as u8]);
        self.bytes.extend_from_slice(sortable);
    }

    /// A value that is encoded already, with its size.
    pub(crate) fn encoded(&mut self, value: &[u8], aws_bytes: u32) {
        self.count(aws_bytes);
        if self.has_room() {
            self.bytes.extend_from_slice(value);
        } else {
            self.bytes.push(TAG_NULL);
        }
    }

    /// Where the next value begins.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            attributes: self.attributes.len(),
            moved: self.moved.len(),
            sorted: self.sorted.len(),
            aws_bytes: self.aws_bytes,
            dropped_bytes: self.dropped_bytes,
            dropped: self.dropped.len(),
        }
    }

    /// Forgets the value that was appended since.
    pub(crate) fn rewind(&mut self, mark: &Mark) {
        self.bytes.truncate(mark.bytes);
        self.attributes.truncate(mark.attributes);
        self.moved.truncate(mark.moved);
        self.sorted.truncate(mark.sorted);
        self.aws_bytes = mark.aws_bytes;
        self.dropped_bytes = mark.dropped_bytes;
        self.dropped.truncate(mark.dropped);
    }

    /// Begins a list: elements follow.
    pub(crate) fn begin_list(&mut self) {
        self.begin_container(TAG_L, false);
    }

    /// Begins a map: attributes follow.
    pub(crate) fn begin_map(&mut self) {
        self.begin_container(TAG_M, true);
    }

    /// Ends the list or map that was begun last.
    pub(crate) fn end(&mut self) {
        let open = self.open.pop().expect("a list or map was begun");
        if open.is_map {
            self.finish_attribute(&open);
            self.settle_map(&open);
        }
        let start = open.start as usize;
        let dropped = self.dropped_bytes - open.dropped_before;
        let total = self.here() - open.start - CONTAINER_HEAD_BYTES as u32 - dropped;
        self.bytes[start + 1..start + CONTAINER_HEAD_BYTES].copy_from_slice(&total.to_le_bytes());
    }

    /// Begins a set: members follow.
    pub(crate) fn begin_set(&mut self) {
        self.members.clear();
        self.member_places.clear();
    }

    /// A member of the open set: what `write` appends.
    pub(crate) fn member<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.members.len() as u32;
        let written = write(&mut self.members);
        self.member_places.push(start..self.members.len() as u32);
        written
    }

    /// Ends the set. What is not `Complete` leaves a null in its place.
    pub(crate) fn end_set(&mut self, kind: Kind) -> SetOutcome {
        let members = &self.members;
        let bytes = |place: &Range<u32>| &members[place.start as usize..place.end as usize];
        self.member_places.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
        let places = &self.member_places;
        let outcome = if places.is_empty() {
            SetOutcome::Empty
        } else if places.windows(2).any(|pair| bytes(&pair[0]) == bytes(&pair[1])) {
            SetOutcome::Duplicate
        } else {
            SetOutcome::Complete
        };
        if outcome == SetOutcome::Complete {
            self.put_set(kind);
        } else {
            self.bytes.push(TAG_NULL);
        }
        outcome
    }

    /// Ends the set; a member that came twice stays once.
    pub(crate) fn end_set_without_duplicates(&mut self, kind: Kind) -> SetOutcome {
        let members = &self.members;
        let bytes = |place: &Range<u32>| &members[place.start as usize..place.end as usize];
        self.member_places.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
        self.member_places.dedup_by(|a, b| bytes(a) == bytes(b));
        if self.member_places.is_empty() {
            self.bytes.push(TAG_NULL);
            return SetOutcome::Empty;
        }
        self.put_set(kind);
        SetOutcome::Complete
    }

    /// Gives back the memory of an exceptionally large request.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.members.shrink_to(KEPT_BYTES_MAX);
        self.member_places.shrink_to(KEPT_COUNT_MAX);
        self.attributes.shrink_to(KEPT_COUNT_MAX);
        self.sorted.shrink_to(KEPT_COUNT_MAX);
        self.moved.shrink_to(KEPT_COUNT_MAX);
        self.dropped.shrink_to(KEPT_COUNT_MAX);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.attributes.clear();
        self.open.clear();
        self.moved.clear();
        self.sorted.clear();
        self.aws_bytes = 0;
        self.dropped_bytes = 0;
        self.dropped.clear();
        self.is_item = false;
    }

    /// Writes the members, which are sorted and not none.
    fn put_set(&mut self, kind: Kind) {
        let sizes = self.member_places.iter().map(|place| place.end - place.start);
        let total = sizes.map(|size| size + varint_bytes(size)).fold(0, u32::saturating_add);
        let aws_bytes = match kind {
            Kind::Ns => self
                .member_places
                .iter()
                .map(|place| aws_bytes_of_sortable(&self.members[place.start as usize..place.end as usize]))
                .sum(),
            _ => self.members_bytes(),
        };
        self.count(aws_bytes);
        // A single empty member.
        if total == 1 && kind != Kind::Ns {
            self.bytes.push(if kind == Kind::Ss { TAG_SS_EMPTY } else { TAG_BS_EMPTY });
            return;
        }
        if !self.has_room() {
            self.bytes.push(TAG_NULL);
            return;
        }
        self.bytes.push(set_tag(kind));
        put_varint(total, &mut self.bytes);
        for place in &self.member_places {
            put_varint(place.end - place.start, &mut self.bytes);
            self.bytes.extend_from_slice(&self.members[place.start as usize..place.end as usize]);
        }
    }

    fn members_bytes(&self) -> u32 {
        self.member_places.iter().map(|place| place.end - place.start).sum()
    }

    fn field(&mut self, tag: u8, bytes: &[u8]) {
        let length = length(bytes);
        self.count(length);
        if !self.has_room() {
            self.bytes.push(TAG_NULL);
            return;
        }
        self.bytes.push(tag);
        put_varint(length, &mut self.bytes);
        self.bytes.extend_from_slice(bytes);
    }

    fn begin_container(&mut self, tag: u8, is_map: bool) {
        self.count(3);
        let start = self.here();
        self.bytes.extend_from_slice(&[tag, 0, 0, 0, 0]);
        self.open_container(is_map, start);
    }

    fn open_container(&mut self, is_map: bool, start: u32) {
        self.open.push(Open {
            start,
            is_map,
            in_order: true,
            attributes_from: self.attributes.len() as u32,
            dropped_before: self.dropped_bytes,
        });
    }

    /// Completes the last attribute of the map at `index` of the open ones, if it has one.
    fn finish_last_attribute(&mut self, index: usize) {
        let from = self.open[index].attributes_from as usize;
        let end = self.here();
        if let Some(last) = self.attributes[from..].last_mut() {
            last.end = end;
            last.has_moved = self.moved.len() > last.moved_before as usize;
            last.size = end - last.start - (self.dropped_bytes - last.size);
            last.aws_bytes = self.aws_bytes.saturating_sub(last.aws_bytes);
        }
    }

    fn finish_attribute(&mut self, open: &Open) {
        self.open.push(Open { ..*open });
        self.finish_last_attribute(self.open.len() - 1);
        self.open.pop();
    }

    /// Sorts the attributes of a map that ends, and forgets those that were replaced. Gives whether they lie in order.
    fn settle_map(&mut self, open: &Open) -> bool {
        let from = open.attributes_from as usize;
        if open.in_order {
            self.attributes.truncate(from);
            return true;
        }
        let bytes = &self.bytes;
        let attributes = &mut self.attributes[from..];
        attributes.sort_unstable_by(|a, b| compare(bytes, a, b).then_with(|| a.start.cmp(&b.start)));
        let sorted_from = self.sorted.len();
        let mut total = 0;
        for (index, attribute) in attributes.iter().enumerate() {
            let is_replaced = attributes
                .get(index + 1)
                .is_some_and(|next| compare(bytes, attribute, next) == Ordering::Equal);
            if is_replaced {
                self.dropped_bytes += attribute.size;
                self.dropped.push(attribute.start..attribute.end);
                self.aws_bytes = self.aws_bytes.saturating_sub(attribute.aws_bytes);
            } else {
                total += attribute.size;
                self.sorted.push(*attribute);
            }
        }
        self.attributes.truncate(from);
        let sorted = sorted_from..self.sorted.len();
        self.moved.push(Moved { start: open.start, end: self.here(), total, sorted });
        false
    }

    /// Copies what was appended from `start` to `end`, each map's attributes in their order.
    fn copy(&self, start: u32, end: u32, out: &mut Vec<u8>) {
        let mut at = start;
        let mut next = self.moved.partition_point(|moved| moved.start < start);
        while let Some(moved) = self.moved.get(next).filter(|moved| moved.start < end) {
            out.extend_from_slice(&self.bytes[at as usize..moved.start as usize]);
            out.push(TAG_M);
            out.extend_from_slice(&moved.total.to_le_bytes());
            self.copy_sorted(moved.sorted.clone(), out);
            at = moved.end;
            next = self.moved.partition_point(|other| other.start < at);
        }
        out.extend_from_slice(&self.bytes[at as usize..end as usize]);
    }

    /// The same with attributes that were sorted. Each round goes one level down, and requests bound the levels.
    fn copy_sorted(&self, attributes: Range<usize>, out: &mut Vec<u8>) {
        for attribute in &self.sorted[attributes] {
            if attribute.has_moved {
                self.copy(attribute.start, attribute.end, out);
            } else {
                out.extend_from_slice(&self.bytes[attribute.start as usize..attribute.end as usize]);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < BYTES_MAX
    }

    fn count(&mut self, bytes: u32) {
        self.aws_bytes = self.aws_bytes.saturating_add(bytes);
    }

    fn here(&self) -> u32 {
        self.bytes.len() as u32
    }
}

fn name_of<'a>(bytes: &'a [u8], attribute: &Attribute) -> &'a [u8] {
    &bytes[attribute.name_start as usize..][..attribute.name_bytes as usize]
}

/// The order of two names. Most differ in their first eight bytes.
fn compare(bytes: &[u8], a: &Attribute, b: &Attribute) -> Ordering {
    a.prefix.cmp(&b.prefix).then_with(|| name_of(bytes, a).cmp(name_of(bytes, b)))
}

fn prefix(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        // The two halves overlap where they agree.
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << (8 * (8 - name.len()));
    }
    name.iter().rev().fold(0, |prefix, byte| prefix >> 8 | u64::from(*byte) << 56)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Past this the contents of values are left out, and only their sizes count: such an item is refused for its size in
/// any case, and must not take the memory of 300 copies of itself before.
const BYTES_MAX: usize = 64 << 20;

/// What an item begins with.
const RESERVED_BYTES: usize = 256;
const RESERVED_COUNT: usize = 12;

/// What a draft keeps for the next one.
const KEPT_BYTES_MAX: usize = 64 << 10;
const KEPT_COUNT_MAX: usize = 4 << 10;
