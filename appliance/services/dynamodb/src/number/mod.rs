//! Numbers of up to 38 decimal digits.
