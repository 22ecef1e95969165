//! A daemon with something of everything on its pages.

use serde_json::json;

use jobtrackd::simulator::Reply;

use crate::process::house::House;
use crate::process::program::Program;
use crate::support::challenges::{ask, done, mfa};

/// An answer to the challenge of job `asks`, which must not be found anywhere afterwards.
pub(super) const ANSWER: &str = "canary-4711";

pub(super) struct Scene {
    pub(super) house: House,
    pub(super) program: Program,
    pub(super) url: String,
}

impl Scene {
    /// A daemon without jobs.
    pub(super) async fn empty() -> Self {
        Self::of(House::new().await).await
    }

    pub(super) async fn of(house: House) -> Self {
        let program = house.run();
        let address = program.ready().await;
        Self {
            house,
            program,
            url: format!("http://{address}"),
        }
    }

    /// A daemon with jobs in every state, a webhook in trouble, and events that wait.
    pub(super) async fn full() -> Self {
        let mut house = House::new().await;
        house.webhook("billing");
        house.raw("webhooks.billing", "retry", "[\"1h\"]");
        house.sink.reply(Reply {
            hook: Some("billing".to_owned()),
            status: 500,
            body: "the disk is full".to_owned(),
            ..Reply::default()
        });
        let scene = Self::of(house).await;
        scene.asks().await;
        let house = &scene.house;
        let steps = [
            ("verify-credentials", "success"),
            ("retrieve-accounts", "success"),
        ];
        house.follow("well-1", &[(0, &steps)]).await;
        house.follow("well-2", &[(0, &steps)]).await;
        let fails = [
            ("verify-credentials", "success"),
            ("retrieve-accounts", "failed"),
        ];
        house.follow("fails", &[(0, &fails)]).await;
        let runs = [
            ("verify-credentials", "success"),
            ("retrieve-transactions", "in-progress"),
        ];
        house.make("runs", &[(0, &runs)]);
        let metadata = json!({"customer": "c_9", "note": "a <b>bold</b> customer with a rather long remark about them"});
        house
            .sql(&format!(
                "INSERT INTO jobs (id, metadata) VALUES ('runs', '{metadata}')"
            ))
            .await;
        house.follow("a-job-with-a-name-that-is-as-long-as-names-of-jobs-may-be-in-practice-0123456789abcdef", &[(0, &runs)]).await;
        house
            .until(
                "SELECT count(*) FROM jobs WHERE state IN ('success', 'failed')",
                "3",
            )
            .await;
        house
            .until("SELECT count(*) FROM jobs WHERE state = 'in-progress'", "3")
            .await;
        house
            .until(
                "SELECT count(*) FROM webhooks WHERE name = 'billing' AND held_since IS NOT NULL",
                "1",
            )
            .await;
        scene
    }

    /// Has a job that waits for an answer.
    pub(super) async fn asks(&self) {
        let house = &self.house;
        ask(
            &house.control(),
            "asks",
            Some("u1"),
            &mfa("/jobs/asks/mfa"),
            &[ANSWER],
            done(),
        );
        house.sql("INSERT INTO jobs (id) VALUES ('asks')").await;
        house
            .until(
                "SELECT count(*) FROM events WHERE type = 'job.action_required'",
                "1",
            )
            .await;
    }

    /// The addresses of all pages, with what they show once they are complete.
    pub(super) fn pages(&self) -> Vec<String> {
        let paths = [
            "/",
            "/dashboard/jobs",
            "/dashboard/jobs?state=failed&text=f",
            "/dashboard/jobs?text=nowhere",
            "/dashboard/jobs/asks",
            "/dashboard/jobs/fails",
            "/dashboard/jobs/runs",
            "/dashboard/cancel-jobs?state=in-progress",
            "/dashboard/webhooks",
            "/dashboard/webhooks/billing",
            "/dashboard/webhooks/all",
            "/dashboard/events",
            "/dashboard/operators",
            "/dashboard/replay?job=well-1",
            "/dashboard/sign-in",
        ];
        paths.map(|path| format!("{}{path}", self.url)).to_vec()
    }
}
