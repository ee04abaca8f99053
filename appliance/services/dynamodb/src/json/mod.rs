//! JSON as the protocol uses it: a pull reader without a tree, an appending writer.
