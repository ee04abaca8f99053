//! The words that members of item requests may hold.
//! Invariant: each list stands in the order in which AWS prints it.

use super::constraint::Word;

/// `ReturnValues`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReturnValues {
    /// Nothing.
    #[default]
    None,
    /// The item as it was.
    AllOld,
    /// What the update touched, as it was.
    UpdatedOld,
    /// The item as it is.
    AllNew,
    /// What the update touched, as it is.
    UpdatedNew,
}

impl Word for ReturnValues {
    const WORDS: &'static [(&'static str, ReturnValues)] = &[
        ("ALL_NEW", ReturnValues::AllNew),
        ("UPDATED_OLD", ReturnValues::UpdatedOld),
        ("ALL_OLD", ReturnValues::AllOld),
        ("NONE", ReturnValues::None),
        ("UPDATED_NEW", ReturnValues::UpdatedNew),
    ];
}

/// `ReturnValuesOnConditionCheckFailure`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReturnOnFailure {
    /// Nothing.
    #[default]
    None,
    /// The item as it is.
    AllOld,
}

impl Word for ReturnOnFailure {
    const WORDS: &'static [(&'static str, ReturnOnFailure)] =
        &[("ALL_OLD", ReturnOnFailure::AllOld), ("NONE", ReturnOnFailure::None)];
}

/// `ReturnConsumedCapacity`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReturnCapacity {
    /// Nothing.
    #[default]
    None,
    /// One sum for each table.
    Total,
    /// The table and each index by itself too.
    Indexes,
}

impl Word for ReturnCapacity {
    const WORDS: &'static [(&'static str, ReturnCapacity)] = &[
        ("INDEXES", ReturnCapacity::Indexes),
        ("TOTAL", ReturnCapacity::Total),
        ("NONE", ReturnCapacity::None),
    ];
}

/// `ReturnItemCollectionMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReturnCollection {
    /// Nothing.
    #[default]
    None,
    /// An estimate of the bytes of the items with one partition key.
    Size,
}

impl Word for ReturnCollection {
    const WORDS: &'static [(&'static str, ReturnCollection)] =
        &[("SIZE", ReturnCollection::Size), ("NONE", ReturnCollection::None)];
}

/// `Select`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Select {
    /// What the projection names.
    SpecificAttributes,
    /// How many.
    Count,
    /// Whole items.
    AllAttributes,
    /// What the index shows.
    AllProjectedAttributes,
}

impl Word for Select {
    const WORDS: &'static [(&'static str, Select)] = &[
        ("SPECIFIC_ATTRIBUTES", Select::SpecificAttributes),
        ("COUNT", Select::Count),
        ("ALL_ATTRIBUTES", Select::AllAttributes),
        ("ALL_PROJECTED_ATTRIBUTES", Select::AllProjectedAttributes),
    ];
}

/// `ConditionalOperator`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ConditionalOperator {
    /// One of the conditions is enough.
    Or,
    /// All have to hold.
    #[default]
    And,
}

impl Word for ConditionalOperator {
    const WORDS: &'static [(&'static str, ConditionalOperator)] =
        &[("OR", ConditionalOperator::Or), ("AND", ConditionalOperator::And)];
}
