//! Values that several commands take.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use strum::IntoEnumIterator as _;

use crate::core::event::EventType;

/// One of these values, written as its word.
pub(super) fn words<T>(
    all: impl IntoIterator<Item = T>,
    word: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let all: Vec<T> = all.into_iter().collect();
    let words: Vec<&str> = all.iter().copied().map(word).collect();
    PossibleValuesParser::new(words).try_map(move |text| {
        let mut all = all.iter().copied();
        all.find(|each| word(*each) == text)
            .ok_or("not one of the words")
    })
}

/// The types of events that belong to jobs.
pub(super) fn job_events() -> impl TypedValueParser<Value = EventType> {
    let all = EventType::iter();
    words(
        all.filter(|kind| *kind != EventType::Test),
        EventType::as_str,
    )
}
