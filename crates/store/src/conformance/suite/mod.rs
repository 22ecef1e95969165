//! The tests, each of which runs against every store. One that is not listed here is reported as unused.

mod attempts;
mod bookkeeping;
mod deleting;
mod intake;
mod interleavings;
mod lanes;
mod lists;
mod operators;
mod reading;
mod recording;
mod retention;
mod rows;
mod steps;
mod updates;
mod upstreams;
mod users;
mod watching;
mod webhooks;

use super::{InMemory, Sqlite};

macro_rules! each {
    ($backend:ident: $($subject:ident { $($test:ident)* })*) => {
        $(mod $subject {
            $(#[tokio::test]
            async fn $test() {
                super::super::$subject::$test::<super::$backend>().await;
            })*
        })*
    };
}
/// Runs every test against a kind of store.
macro_rules! against {
    ($backend:ident, $name:ident) => {
        mod $name {
            use super::$backend;
            each!($backend:
                attempts {
                    every_attempt_is_kept_and_the_delivery_shows_the_last
                    a_pause_holds_back_the_webhook_and_costs_no_entry
                    a_410_disables_what_is_pending_and_what_comes_later
                    what_was_under_way_when_the_webhook_was_disabled_counts_when_it_was_a_2xx
                    an_attempt_is_recorded_once_however_often_it_is_reported
                    an_attempt_that_does_not_count_does_nothing_to_its_webhook
                }
                bookkeeping {
                    schedules_are_written_for_many_jobs_and_leave_everything_else_alone
                    polls_never_go_down
                    what_was_decided_about_a_row_does_not_touch_another_with_its_id
                    a_late_flush_does_not_touch_an_ended_job
                    requests_to_poll_are_taken_and_may_come_again
                    a_request_to_poll_that_was_not_read_yet_is_not_taken
                    an_empty_batch_is_said_to_be_empty_and_does_nothing
                }
                deleting {
                    a_job_goes_only_when_nothing_of_it_is_left_to_do
                    an_id_that_comes_back_after_its_rows_are_gone_tells_new_events
                }
                intake {
                    a_change_of_a_job_that_is_gone_says_so
                    the_daemon_s_own_writes_are_no_changes
                    changes_seen_are_forgotten_and_their_numbers_never_come_again
                    active_jobs_come_page_by_page_without_the_ended_ones
                    the_watcher_sees_commits_of_others_and_of_the_writer_and_nothing_else
                    enqueueing_is_an_insert_like_any_other
                    cancelling_says_whether_there_is_something_to_cancel
                }
                lanes {
                    only_the_head_of_a_lane_is_due
                    the_next_becomes_due_in_the_commit_that_ends_the_one_before
                    events_that_come_while_a_head_waits_stay_behind_it
                    an_event_and_the_delivery_of_the_one_before_may_come_in_one_commit
                    one_lane_does_not_wait_for_another
                    the_longest_due_come_first_and_pages_are_cut
                }
                lists {
                    lists_come_newest_first_and_page_by_page_without_gaps
                    ended_jobs_are_found_by_the_time_of_their_end
                    jobs_are_found_by_time_webhook_and_text
                    a_timeline_tells_everything_in_one_order
                }
                operators {
                    a_disabled_webhook_gets_nothing_and_all_of_it_in_order_when_it_is_enabled
                    enabling_makes_retries_due_at_once
                    what_is_given_up_is_kept_and_its_lane_goes_on
                    moved_deliveries_begin_anew_in_order_and_take_their_jobs_along
                    a_replay_sends_again_in_the_order_of_the_events
                    an_event_that_comes_back_before_others_goes_first_alone
                    a_replay_leaves_disabled_webhooks_alone
                    deliveries_are_listed_with_the_newest_events_first
                }
                reading {
                    what_is_not_there_is_nothing
                    jobs_that_are_read_together_come_in_the_order_of_the_ids
                    an_event_has_a_few_words_that_say_what_it_is_about
                    names_of_unknown_webhooks_are_counted_over_the_unfinished_jobs
                }
                recording {
                    a_batch_that_cannot_be_recorded_whole_is_not_recorded_at_all
                    a_stale_observation_writes_nothing_while_others_of_its_batch_do
                    an_observation_of_a_job_that_is_gone_writes_nothing
                    ended_jobs_take_no_more_observations
                    each_job_has_exactly_one_terminal_event
                    the_resource_stays_when_the_tracker_ends_the_job
                    a_resource_of_a_megabyte_and_strange_json_are_kept_to_the_byte
                }
                retention {
                    a_job_goes_in_parts_its_attempts_first
                    what_is_to_be_sent_again_is_not_deleted
                    attempts_of_tests_go_at_their_age_too
                }
                rows {
                    a_bad_row_is_refused_with_the_rule
                    good_rows_are_taken_as_they_are
                    a_refused_row_does_not_affect_those_beside_it
                }
                steps {
                    a_reorder_moves_positions_and_nothing_else
                    a_step_that_vanishes_is_missing_and_comes_back_with_its_first_sight
                    a_new_step_is_first_seen_when_it_comes
                    a_step_is_updated_when_its_status_or_its_result_s_value_changes
                    titles_are_kept_whatever_is_in_them
                    that_a_delay_was_sent_is_remembered
                }
                updates {
                    requests_and_times_are_changes_and_nothing_else_is
                }
                upstreams {
                    a_pause_is_kept_until_an_operator_ends_it
                }
                users {
                    a_recorded_job_belongs_to_those_it_leads_to_now_and_a_deleted_one_to_nobody
                    what_is_not_recorded_changes_nobody_s_jobs
                    a_page_of_a_user_s_jobs_has_at_most_4_mib_and_one_job_more_and_none_is_left_out
                }
                watching {
                    jobs_that_run_or_have_just_ended_come_with_the_latest_change_first
                    a_watched_job_has_its_steps_its_latest_change_and_its_deliveries
                    the_overview_counts_what_runs_and_names_the_webhooks_in_trouble
                }
                webhooks {
                    an_event_that_expired_is_given_up_and_goes_to_the_fallback
                    what_expires_is_found_apart_and_is_probed_only_while_it_is_of_use
                    those_that_were_never_tried_are_probed_first
                    a_later_health_is_kept_and_one_from_before_a_reset_is_not
                    waits_from_a_clock_that_was_ahead_are_shortened
                    the_numbers_of_jobs_and_deliveries_are_counted
                    the_health_of_the_followed_jobs_is_summed_up
                    the_latest_attempts_come_first_and_tests_are_among_them
                }
            );

            #[test]
            fn whatever_comes_in_between_a_lane_is_sent_in_order_and_has_one_head() {
                super::interleavings::whatever_comes_in_between_a_lane_is_sent_in_order_and_has_one_head::<$backend>();
            }
        }
    };
}

against!(Sqlite, sqlite);
against!(InMemory, memory);
