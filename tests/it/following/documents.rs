//! Remote jobs word for word, as the API's own pages and its published samples show them.

/// The first example of the page the job resource comes from.
pub(super) const SEED: &str = r#"{
  "type": "job",
  "id": "61723",
  "created": "2016-06-08T09:10:32.000Z",
  "updated": "2016-06-08T09:14:28.000Z",
  "steps": [
    {
      "title": "verify-credentials",
      "status": "success",
      "result": [
        {
          "type": "link",
          "url": "/users/ea3a81/connections/8fce3b"
        }
      ]
    },
    {
      "title": "retrieve-accounts",
      "status": "success",
      "result": [
        {
          "type": "link",
          "url": "/users/ea3a81/accounts?filter=institution.id.eq('AU00000')"
        }
      ]
    },
    {
      "title": "retrieve-transactions",
      "status": "in-progress",
      "result": null
    }
  ],
  "links": {
    "self": "/jobs/61723",
    "source": "/users/ea3a81/connections/8fce3b"
  }
}"#;

/// The second one, with a challenge.
pub(super) const SEED_MFA: &str = r#"{
  "type": "job",
  "id": "61723",
  "created": "2021-06-08T09:10:32.000Z",
  "updated": "2021-06-08T09:14:28.000Z",
  "steps": [
    {
      "title": "verify-credentials",
      "status": "success",
      "result": [
        {
          "type": "link",
          "url": "/users/ea3a81/connections/8fce3b"
        }
      ]
    },
    {
      "title": "mfa-challenge",
      "status": "in-progress",
      "result": [
        {
          "type": "mfa",
          "method": "token",
          "description": "A SMS code has been sent to your device, please enter valid number",
          "input": [
            "OTP Password"
          ],
          "expiryMs": 3600,
          "links": {
            "response": "/jobs/61723/mfa"
          }
        }
      ]
    },
    {
      "title": "retrieve-accounts",
      "status": "pending",
      "result": null
    },
    {
      "title": "retrieve-transactions",
      "status": "pending",
      "result": null
    }
  ],
  "links": {
    "self": "/jobs/61723",
    "source": "/users/ea3a81/connections/8fce3b"
  }
}"#;

/// All done, results are objects, links are absolute.
pub(super) const ALL_DONE: &str = r#"{"type":"job","id":"a03e4df4-dc05-4cd3-9af0-0f28a13ea614","created":"2024-09-25T04:14:48Z","updated":"2024-09-25T04:14:50Z","jobType":"connection","steps":[{"title":"verify-credentials","status":"success","result":{"type":"link","url":"/users/b540e803-91dd-4ff9-a89e-ef8ecf65833d/connections/214974bb-56d6-466a-9034-ba0a6b810eed"}},{"title":"retrieve-accounts","status":"success","result":{"type":"link","url":"/users/b540e803-91dd-4ff9-a89e-ef8ecf65833d/accounts?filter=institution.id.eq('AU00000')"}},{"title":"retrieve-transactions","status":"success","result":{"type":"link","url":"/users/b540e803-91dd-4ff9-a89e-ef8ecf65833d/transactions?filter=institution.id.eq('AU00000')"}}],"links":{"self":"https://au-api.basiq.io/jobs/a03e4df4-dc05-4cd3-9af0-0f28a13ea614","source":"https://au-api.basiq.io/users/b540e803-91dd-4ff9-a89e-ef8ecf65833d/connections/214974bb-56d6-466a-9034-ba0a6b810eed"}}"#;

/// In progress, without `links.source`.
pub(super) const NO_SOURCE: &str = r#"{"type":"job","id":"248b2883-2a6b-4e8a-9591-76565d23ba5a","created":"2024-09-25T04:15:59Z","updated":"2024-09-25T04:15:59Z","jobType":"connection","steps":[{"title":"verify-credentials","status":"in-progress","result":null},{"title":"retrieve-accounts","status":"pending","result":null},{"title":"retrieve-transactions","status":"pending","result":null}],"links":{"self":"https://au-api.basiq.io/jobs/248b2883-2a6b-4e8a-9591-76565d23ba5a"}}"#;

/// The first step failed, the others stay pending for ever.
pub(super) const REFUSED: &str = r#"{"type":"job","id":"5c50a2d1-561c-48c4-a186-b763bdf5502a","created":"2024-09-25T04:22:25Z","updated":"2024-09-25T04:22:38Z","jobType":"connection","steps":[{"title":"verify-credentials","status":"failed","result":{"code":"authorization-failed","title":"Authorization failed","detail":"access_denied"}},{"title":"retrieve-accounts","status":"pending","result":null},{"title":"retrieve-transactions","status":"pending","result":null}],"links":{"self":"https://au-api.basiq.io/jobs/5c50a2d1-561c-48c4-a186-b763bdf5502a","source":"https://au-api.basiq.io/users/b2afc9cd-0f3c-41f0-9e19-d18482abc9fc/connections/60612323-9c42-478a-8ff2-640445dbe64a"}}"#;

/// A statement that failed, without `links.source`.
pub(super) const STATEMENT: &str = r#"{"type":"job","id":"f14de1bb-ddbe-4c16-add0-efab65aab13d","created":"2024-09-25T04:28:59Z","updated":"2024-09-25T04:29:09Z","jobType":"connection","steps":[{"title":"verify-credentials","status":"failed","result":{"code":"bank-statement-not-supported","title":"Statement not supported.","detail":"Statement is not currently supported for this institution - check statement uploaded against correct bank."}},{"title":"retrieve-accounts","status":"pending","result":null},{"title":"retrieve-transactions","status":"pending","result":null}],"links":{"self":"https://au-api.basiq.io/jobs/f14de1bb-ddbe-4c16-add0-efab65aab13d"}}"#;

/// Single steps that fail, as they stand in a job.
pub(super) const FAILED_STEPS: [&str; 5] = [
    r#"{"title":"verify-credentials","status":"failed","result":{"code":"invalid-credentials","title":"Cannot login to target institution: invalid username or password.","detail":"Cannot login to target institution: invalid username or password. Please check credentials and try again."}}"#,
    r#"{"title":"verify-credentials","status":"failed","result":{"code":"invalid-credentials","title":"Cannot login to target institution: this account is locked.","detail":"Cannot login to target institution: this account is locked. Please contact institution directly."}}"#,
    r#"{"title":"verify-credentials","status":"failed","result":{"code":"invalid-credentials","title":"Cannot login to target institution: multi-factor authentication is not supported.","detail":"Cannot login to target institution: multi-factor authentication is not supported. Please check if multi-factor authentication is enabled on login."}}"#,
    r#"{"title":"verify-credentials","status":"failed","result":{"code":"temporary-unavailable","title":"Institution temporary unavailable","detail":"3rd party service temporary unavailable. Please try again later."}}"#,
    r#"{"title":"mfa-challenge","status":"failed","result":null}"#,
];

/// A step that the API has queued for a later try.
pub(super) const QUEUED_STEP: &str = r#"{"title":"verify-credentials","status":"pending","result":{"code":"temporary-unavailable-queued","title":"Institution temporary unavailable, retry pending","detail":"3rd party service temporary unavailable. Job queued, retry in 2 hours."}}"#;

/// Security questions; the result is an object and its link absolute.
pub(super) const QUESTIONS_STEP: &str = r#"{"title":"mfa-challenge","status":"in-progress","result":{"type":"mfa","method":"security-questions","description":"security-questions","input":["What's your favourite company?","What's the ID of this institution?"],"expiryMs":120000,"links":{"response":"https://au-api.basiq.io/jobs/61723/mfa"}}}"#;

/// A challenge that was not needed, its title misspelt.
pub(super) const SKIPPED_STEP: &str =
    r#"{"title":"mfa-challenege","status":"skipped","result":null}"#;

/// A challenge that was answered and is being checked.
pub(super) const ANSWERED_STEP: &str =
    r#"{"title":"mfa-challenge","status":"in-progress","result":null}"#;
