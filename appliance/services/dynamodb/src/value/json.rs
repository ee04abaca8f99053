//! From stored bytes straight to the JSON of the protocol: `{"name":{"S":"text"}}`.
//!
//! Invariant: no tree and no copy in between.

use super::encoding::{self, TAG_S, field};
use super::{ItemRef, Kind, MapRef, ValueRef};
use crate::json::Writer;
use crate::number::Digits;

impl ValueRef<'_> {
    /// Appends the value as the protocol writes it: `{"S":"x"}`.
    pub fn write_json(&self, out: &mut Writer) {
        out.separate();
        match self {
            ValueRef::Null => out.inside(b"{\"NULL\":true}"),
            ValueRef::Bool(true) => out.inside(b"{\"BOOL\":true}"),
            ValueRef::Bool(false) => out.inside(b"{\"BOOL\":false}"),
            ValueRef::S(text) => write_string(text.as_bytes(), out),
            ValueRef::N(number) => {
                out.inside(b"{\"N\":");
                write_number(number.sortable(), out);
                out.inside(b"}");
            }
            ValueRef::B(bytes) => {
                out.inside(b"{\"B\":");
                out.blob_inside(bytes);
                out.inside(b"}");
            }
            ValueRef::Set(set) => {
                out.inside(match set.kind() {
                    Kind::Ns => b"{\"NS\":[",
                    Kind::Bs => b"{\"BS\":[",
                    _ => b"{\"SS\":[",
                });
                for (index, member) in set.iter().enumerate() {
                    out.inside(if index == 0 { b"" } else { b"," });
                    match set.kind() {
                        Kind::Ns => write_number(member, out),
                        Kind::Bs => out.blob_inside(member),
                        _ => out.string_inside(member),
                    }
                }
                out.inside(b"]}");
            }
            ValueRef::L(list) => {
                out.inside(b"{\"L\":");
                out.begin_inside(b'[');
                list.encoded_values().for_each(|value| write_value(value, out));
                out.end_array();
                out.inside(b"}");
            }
            ValueRef::M(map) => {
                out.inside(b"{\"M\":");
                out.begin_inside(b'{');
                map.write_attributes(out);
                out.end_object();
                out.inside(b"}");
            }
        }
    }
}

impl MapRef<'_> {
    /// Appends the attributes: `{"a":{"S":"x"},"b":{"N":"1"}}`.
    pub fn write_json(&self, out: &mut Writer) {
        out.begin_object();
        self.write_attributes(out);
        out.end_object();
    }

    fn write_attributes(&self, out: &mut Writer) {
        for (name, value) in self.encoded_attributes() {
            out.key_bytes(name);
            write_value(value, out);
        }
    }
}

impl ItemRef<'_> {
    /// Appends the attributes: `{"a":{"S":"x"},"b":{"N":"1"}}`.
    pub fn write_json(&self, out: &mut Writer) {
        self.map().write_json(out);
    }
}

/// Appends a value from its encoding. Goes down as many levels as the value has.
pub(super) fn write_value(value: &[u8], out: &mut Writer) {
    // A string's bytes are written as they are, without another look at whether they are UTF-8.
    if let [TAG_S, rest @ ..] = value {
        out.separate();
        write_string(field(rest).map_or(b"", |(text, _)| text), out);
    } else {
        encoding::decode(value).write_json(out);
    }
}

fn write_string(text: &[u8], out: &mut Writer) {
    out.inside(b"{\"S\":");
    out.string_inside(text);
    out.inside(b"}");
}

fn write_number(sortable: &[u8], out: &mut Writer) {
    out.inside(b"\"");
    match Digits::from_sortable(sortable) {
        Some(digits) => out.append(|text| digits.write_plain(text)),
        None => out.inside(b"0"),
    }
    out.inside(b"\"");
}
