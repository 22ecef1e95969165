use serde_json::Value;

use super::*;
use crate::cli::tests::fixture::{Followed, step, view};

#[test]
fn only_the_deliveries_that_matter_are_listed_when_there_are_many() {
    let mut story = Followed::of("1");
    for index in 0..40 {
        let word = format!("word-{index}");
        story.seen(f64::from(index), &[step("a", &word, &Value::Null)]);
    }
    story.delivered("audit", DeliveryState::Delivered);
    for delivery in &mut story.detail.deliveries[20..] {
        delivery.state = DeliveryState::Pending;
    }
    let out = draw(&story.detail, &[], &view(80, 60.0));
    assert_eq!(
        out.lines().count(),
        2 + MOST_UNDELIVERED + MOST_DELIVERED + 1
    );
    for expected in [
        "audit  20 of 40 delivered",
        "✓ #20",
        "○ #21",
        "after #21",
        "… and 20 more",
    ] {
        assert!(out.contains(expected), "{expected} is missing in\n{out}");
    }
}
