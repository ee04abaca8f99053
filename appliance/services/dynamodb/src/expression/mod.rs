//! Condition, filter, key condition, update and projection expressions, and the older parameters that mean the same.
