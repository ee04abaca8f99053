//! Where things lie in the store.
