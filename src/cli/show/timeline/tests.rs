use serde_json::Value;

use super::*;
use crate::cli::tests::fixture::{Followed, step, view};

fn steps(words: &[(&str, &str)]) -> Vec<Value> {
    let steps = words.iter();
    steps
        .map(|(title, word)| step(title, word, &Value::Null))
        .collect()
}

#[test]
fn bars_show_when_and_how_long_and_say_at_most_where_the_start_was_not_seen() {
    let mut story = Followed::of("1");
    story
        .seen(
            0.0,
            &steps(&[("a", "in-progress"), ("b", "pending"), ("c", "pending")]),
        )
        .seen(
            10.0,
            &steps(&[("a", "success"), ("b", "in-progress"), ("c", "pending")]),
        )
        .seen(
            40.0,
            &steps(&[("a", "success"), ("b", "success"), ("c", "success")]),
        );
    insta::assert_snapshot!(draw(&story.detail, &view(60, 50.0)), @r#"
    Steps  3 of 3 done
      ✓ a  success        10s  ━━━━━━━━
      │
      ✓ b  success        30s          ━━━━━━━━━━━━━━━━━━━━━━━━━
      │
      ✓ c  success      ≤ 40s  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    "#);
}

#[test]
fn a_step_that_was_done_at_first_sight_has_no_duration() {
    let mut story = Followed::of("1");
    story.seen(
        5.0,
        &steps(&[("a", "success"), ("b", "skipped"), ("", "Resting")]),
    );
    insta::assert_snapshot!(draw(&story.detail, &view(60, 8.0)), @r#"
    Steps  2 of 3 done
      ✓ a           success
      │
      – b           skipped
      │
      ◇ (no title)  Resting         3s  ━━━━━━━━━━━━━━━━━━━━━━━━
    "#);
}

#[test]
fn steps_of_one_title_and_steps_that_vanish_are_drawn_apart() {
    let mut story = Followed::of("1");
    story
        .seen(
            0.0,
            &steps(&[("a", "in-progress"), ("a", "pending"), ("z", "pending")]),
        )
        .seen(4.0, &steps(&[("a", "success"), ("a", "in-progress")]));
    insta::assert_snapshot!(draw(&story.detail, &view(60, 6.0)), @r#"
    Steps  1 of 2 done
      ✓ a  success             4s  ━━━━━━━━━━━━━━━━━━━
      │
      ◐ a  in-progress         2s                     ━━━━━━━━━━
      │
      · z  missing
    "#);
}
