//! Basiq's API: bank connections, statements and reports, whose jobs have steps.

use axum::Router;
use fastrand::Rng;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::api_error::ApiError;
use crate::control::Control;
use crate::format::{Head, JobFormat};
use crate::operation::{Operation, OperationStatus};
use crate::script::Step;
use crate::tokens::Auth;
use crate::wire::{Example, Shown, Wire};
use crate::{creating, routes};

#[derive(Debug)]
pub(super) struct Basiq;

pub(super) fn routes() -> Router<Control> {
    routes::routes().merge(creating::routes())
}

impl Wire for Basiq {
    fn example(&self) -> Example {
        Example {
            create: r#"A token:
  TOKEN=$(curl -s {base}/token -H "Authorization: Basic {key}" -H "basiq-version: 3.0" \
    -d scope=SERVER_ACCESS | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

A job from a sandbox bank (AU00000 succeeds, AU00002 always asks for an MFA answer):
  curl -s {base}/users/u1/connections -H "Authorization: Bearer $TOKEN" -H "content-type: application/json" \
    -d '{"loginId":"gavinBelson","password":"hooli2016","institution":{"id":"AU00000"}}'"#,
            poll: r#"curl -s {base}/jobs/61723 -H "Authorization: Bearer $TOKEN""#,
        }
    }

    fn auth(&self) -> Auth {
        Auth::Token
    }

    fn draw_id(&self, format: JobFormat, rng: &mut Rng) -> String {
        format.id_style().draw(rng)
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix("/jobs/")?.split('/').next()
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let step = Step::new("operation", word(operation));
        let step = match operation.status {
            OperationStatus::Succeeded => match &operation.result {
                Some(result) => step.with(result.clone()),
                None => step,
            },
            status if status.ending().is_some() => {
                let error = operation.failure();
                let error =
                    json!({"code": error.code, "title": error.title, "detail": error.detail});
                step.with(head.format.wrap(error))
            }
            _ => step,
        };
        let steps: Vec<Box<RawValue>> = to_raw_value(&step).into_iter().collect();
        self.show_steps(head, &steps)
    }

    fn show_steps(&self, head: &Head<'_>, steps: &[Box<RawValue>]) -> Shown {
        Shown::text(200, head.format.render(head, steps))
    }

    fn refuse(&self, error: &ApiError, _job: Option<&str>, correlation: &str) -> Shown {
        let mut data = json!({
            "type": "error", "code": error.code, "title": error.title, "detail": error.detail,
        });
        if let Some(parameter) = error.parameter {
            data["source"] = json!({"parameter": parameter});
        }
        let body = json!({"type": "list", "correlationId": correlation, "data": [data]});
        Shown::json(error.status.as_u16(), &body)
    }
}

fn word(operation: &Operation) -> String {
    let word = match operation.status {
        OperationStatus::Queued => "pending",
        OperationStatus::Running | OperationStatus::Finishing | OperationStatus::Cancelling => {
            "in-progress"
        }
        OperationStatus::Succeeded => "success",
        OperationStatus::Failed | OperationStatus::Cancelled | OperationStatus::Expired => "failed",
    };
    operation.word.clone().unwrap_or_else(|| word.to_owned())
}
