//! Items and attribute values in the form in which they are stored.
