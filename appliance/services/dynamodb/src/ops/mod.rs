//! One file for each operation or family of operations.
