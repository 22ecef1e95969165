//! What the scenarios have in common and time has a part in.

pub(crate) mod waiting;
